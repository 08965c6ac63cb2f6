"""What the guide of the client shows, it does."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.orchestrator import World
from tests.verdicts import play


def test_every_block_of_the_guide_runs(
    here: World, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_URL", url)
    play(here, "hold")
    blocks = re.findall(r"```python\n(.*?)```", Path("docs/guides/client.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "client.md", "exec"), names)  # noqa: S102 - the guide's own words
    printed = capsys.readouterr().out
    for said in ("local", "run.succeeded", "hold", "principels_per_topic", "404 NOT_FOUND"):
        assert said in printed
