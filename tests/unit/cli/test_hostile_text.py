"""What servers and models write never steers the terminal that it is shown on."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli.display import PlainDisplay, render
from services.cli.errors import ApiError
from services.cli.output import console, dumps, one_line, print_error, print_json, say, table, visible
from services.cli.progress import RunState
from tests.fuzzing import examples

_TEXTS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x9b31m",
    "\x90q\x9c",
    "a\rb",
    "a\bb",
    "\0\x7f\x85",
    "\u202eevil\u2066\u2069\u200f\u061c",
    "name\nrun succeeded",
    "name\u2028run succeeded",
    "[red]x[/red]",
    "[/]",
    "[link=http://evil.example]x[/link]",
    "[bold",
    ":smile:",
)
_any_text = st.one_of(st.sampled_from(_TEXTS), st.text(max_size=40))


def _harmless(shown: str) -> None:
    for character in shown:
        bad = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\n\t"
        assert not bad, (hex(ord(character)), shown)
        assert unicodedata.bidirectional(character) not in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        ), shown


def _printed(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


@pytest.mark.parametrize("text", _TEXTS)
def test_console_shows_no_sequence_that_a_text_holds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen = console()
    screen.print(text, markup=False)
    screen.print(table(text, ["head", text], [["x", text], [text, "y"]]))
    screen.print(render(_state(text)))
    with PlainDisplay(screen) as display:
        display.event({"kind": text, "data": {}})
        display.event({"kind": "run.failed", "data": {"message": text, "code": text}})
        display.event({"kind": "adapter.loaded", "data": {"name": text}})
    say(text)
    shown = _printed(capsys)
    _harmless(shown)
    if text.startswith("[") or text.startswith(":"):
        assert text in shown


def _state(text: str) -> RunState:
    state = RunState("r-1", text)
    state.apply({"number": 1, "kind": "stage.started", "data": {"stage": text}})
    progress = {"stage": text, "topic": text, "done": 1, "total": 2}
    state.apply({"number": 2, "kind": "stage.progress", "data": progress})
    state.apply({"number": 3, "kind": "service.waiting", "data": {"service": text, "reason": text}})
    return state


@pytest.mark.parametrize("text", _TEXTS)
def test_terminal_gets_the_colours_of_ours_and_no_sequence_of_a_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(words: str) -> str:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "xterm-256color")
        console().print(table("t", ["head"], [[words]]))
        return terminal.getvalue()

    assert shown(text).count("\x1b") == shown(visible(text)).count("\x1b")
    assert "\x9b" not in shown(text)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("text", _TEXTS)
def test_error_of_a_server_is_shown_without_sequences(
    text: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [{"line": 1, "column": 1, "path": text, "message": text}]
    for body in ({"detail": text, "code": text}, {"detail": text, "code": "INVALID_INPUT", "errors": places}):
        print_error(ApiError(422, body), as_json=as_json, source=(text, text))
    _harmless(_printed(capsys))


@pytest.mark.parametrize("text", _TEXTS)
def test_json_holds_the_text_as_it_is_and_no_sequence(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": text})
    shown = _printed(capsys)
    _harmless(shown)
    assert json.loads(shown) == {"name": text}


def test_event_of_a_name_with_a_line_end_stays_one_line() -> None:
    assert one_line("adapter x\nrun succeeded\x0brun\u2028y") == "adapter x run succeeded run y"


@settings(max_examples=examples(1))
@given(_any_text)
def test_any_text_is_harmless_and_keeps_its_length(text: str) -> None:
    _harmless(visible(text))
    assert len(visible(text)) == len(text)
    assert json.loads(dumps(text)) == text
    _harmless(dumps(text))
