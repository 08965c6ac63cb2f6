"""The page's files: nothing in them that the page's policy forbids, or that leads out of the origin."""

import gzip
import re
from pathlib import Path

import pytest

from services.orchestrator.web.files import FIRST, FOLDER, web_files

SCRIPTS = sorted(FOLDER.rglob("*.js"))
# The whole must come over a phone's network in well under a second or two.
MOST_PACKED_BYTES = 90_000


def _name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_whole_page_is_small_and_each_file_unpacks_to_itself() -> None:
    known = web_files()
    assert known.packed_bytes < MOST_PACKED_BYTES
    for one in (known.first, *known.files.values()):
        assert gzip.decompress(one.packed) == one.body
    assert {_name(path) for path in SCRIPTS} < set(known.files)
    assert FIRST not in known.files


def test_first_page_names_the_version_and_whether_a_key_is_asked_for() -> None:
    known, asking = web_files(), web_files(credentials_required=True)
    assert b'data-credentials="none"' in known.first.body
    assert b'data-credentials="required"' in asking.first.body
    assert known.version == asking.version
    assert known.first.etag != asking.first.etag
    for address in re.findall(r'(?:href|src)="(/web/[^"]+)"', known.first.body.decode()):
        version, _, name = address.removeprefix("/web/").partition("/")
        assert version == known.version
        assert name in known.files


def test_pages_have_neither_inline_script_nor_inline_style() -> None:
    for path in FOLDER.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
        assert '<html lang="en"' in text


@pytest.mark.parametrize("path", SCRIPTS, ids=_name)
def test_script_makes_no_markup_from_texts_and_names_no_other_origin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    assert re.findall(sinks, text) == []
    # The parser is the sandboxed frame's alone; the namespace of SVG is a name, and no address.
    assert ("DOMParser" in text) == (path.name == "frame.js")
    addresses = set(re.findall(r"https?://[^\"'` ]+", text)) - {"http://www.w3.org/2000/svg", "https://…"}
    assert addresses == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=_name)
def test_script_says_what_it_is_for_is_short_and_imports_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// ")
    assert text.count("\n") <= 400
    for target in re.findall(r"(?:from|import\()\s*\"([^\"]+)\"", text):
        assert target.startswith("."), target
        assert (path.parent / target).resolve() in SCRIPTS, target


def test_style_asks_for_nothing_and_heeds_reduced_motion() -> None:
    text = (FOLDER / "style.css").read_text(encoding="utf-8")
    assert re.findall(r"url\(|@import|@font-face", text) == []
    moving = text[text.index("prefers-reduced-motion: no-preference") :]
    assert re.findall(r"animation|transition", text.replace(moving, "")) == []
