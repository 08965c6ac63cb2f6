import json
from dataclasses import asdict
from pathlib import Path

from services.trainer.store import JobFolder
from services.trainer.types import Progress

POINT = Progress(
    step=1, total_steps=2, epoch=0.5, loss=1.5, learning_rate=1e-4, tokens_per_s=100.0, time_left_s=3.0
)


def test_read_progress_unfinished_line_is_left_for_later(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    line = json.dumps(asdict(POINT)) + "\n"
    folder.progress.write_text(line + '{"step": 2')
    points, offset = folder.read_progress(0)
    assert (points, offset) == ([POINT], len(line))


def test_read_progress_torn_line_is_passed_over(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    line = json.dumps(asdict(POINT)) + "\n"
    folder.progress.write_text('{"step": 1, "tot' + line + line)
    points, _ = folder.read_progress(0)
    assert points == [POINT]
