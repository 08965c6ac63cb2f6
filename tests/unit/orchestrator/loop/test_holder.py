"""Which holders of a lease are known to be dead."""

import subprocess
import sys
from dataclasses import replace

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
