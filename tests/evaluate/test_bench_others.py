"""A benchmark says when other processes ran beside it."""

from pathlib import Path

import pytest

from evaluate.bench import others
from evaluate.bench.others import busy_cpus, warning

BEFORE = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\ncpu1 50 0 50 400 0 0 0 0 0 0\nintr 5\n"


@pytest.mark.parametrize(
    ("after", "busy"),
    [
        ("cpu  100 0 100 860 0 0 0 0 0 0", 0.0),
        ("cpu  130 0 100 830 0 0 0 0 0 0", 1.0),
        ("cpu  130 0 130 800 0 0 0 0 30 0", 2.0),
        ("cpu  100 0 100 830 30 0 0 0 0 0", 0.0),
        ("cpu  100 0 100 800 0 0 0 0 0 0", None),
    ],
)
def test_busy_processors_are_counted(
    after: str, busy: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text(BEFORE)
    later = after + BEFORE[BEFORE.index("\n") :]
    monkeypatch.setattr(others.time, "sleep", lambda _: stat.write_text(later))
    assert busy_cpus(stat) == (busy if busy is None else pytest.approx(busy))


def test_where_the_system_does_not_tell_nothing_is_said(tmp_path: Path) -> None:
    assert busy_cpus(tmp_path / "none", wait_s=0) is None
    assert warning(None) is None


def test_only_much_is_warned_of() -> None:
    assert warning(0.1) is None
    assert str(warning(1.4)).startswith("other processes kept 1.4 CPUs busy when this began: ")
