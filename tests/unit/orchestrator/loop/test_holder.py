"""Which holders of a lease are known to be dead."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.orchestrator.loop import holder as module
from services.orchestrator.loop.holder import Holder, _start_ticks


def _other() -> tuple[subprocess.Popen[bytes], Holder]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = _start_ticks(process.pid)
    assert ticks
    return process, replace(Holder.of_this_process(), pid=process.pid, start_ticks=ticks)


def test_may_replace_itself_and_a_dead_process_of_this_machine_alone() -> None:
    me = Holder.of_this_process()
    process, other = _other()
    try:
        assert me.may_replace(str(me))
        assert not me.may_replace(str(other))
        process.kill()
        process.wait()
        assert me.may_replace(str(other))
        for change in ({"host": "x"}, {"boot_id": "x"}, {"pid_namespace": "1"}, {"start_ticks": ""}):
            assert not me.may_replace(str(replace(other, **change)))
    finally:
        process.kill()
        process.communicate()


def test_may_replace_a_process_whose_number_was_given_to_another() -> None:
    me = Holder.of_this_process()
    assert me.may_replace(str(replace(me, start_ticks="1")))


def test_may_replace_of_text_that_is_no_holder_is_no() -> None:
    me = Holder.of_this_process()
    for text in ("x", "|||||", "a|b|c|d|e|f"):
        assert not me.may_replace(text)


def test_may_replace_what_cannot_be_seen_is_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Holder.of_this_process()
    dead = str(replace(me, pid=2**22 + 1))
    assert me.may_replace(dead)
    # A /proc that hides the processes of others: nothing there says that they have ended.
    monkeypatch.setattr(module, "_PROC", tmp_path)
    assert not me.may_replace(dead)
    monkeypatch.setattr(module, "_start_ticks", _forbidden)
    assert not me.may_replace(dead)


def _forbidden(pid: int) -> str:
    raise PermissionError(pid)
