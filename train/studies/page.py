"""The page of all studies, in Markdown: each one's question, the notes' claim, what was measured, and the verdict."""

from collections.abc import Mapping, Sequence

from train.studies.record import Record
from train.studies.registry import STUDIES
from train.studies.result import StudyResult, show_cell, show_holds

MOST_ROWS = 16
HEAD = """# The studies

What the source notes measured, measured again: with seeds, repetitions, warm-ups and matched settings, and with each
claim judged by the figures. A claim that does not hold here is said not to.

```sh
python -m train study list
python -m train study reduction --quick
```

`python -m train study NAME` carries one out in full and writes its plot; `python -m train study all` carries out each
that has not been, {minutes}, and `--page FILE` writes this page.

All below: {machine}. The load average beside each time says how much other work shared those cores when it began.
"""


def draw_page(records: Sequence[Record], plots: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        records: In the order of the page; at least one.
        plots: Address of a picture for the studies that have one on the page.
    """
    total_s = sum(record.duration_s for record in records)
    minutes = f"about {max(1, round(total_s / 60))} minutes on the machine below"
    machine = " · ".join(dict.fromkeys(record.machine for record in records))
    parts = [HEAD.format(minutes=minutes, machine=machine), _summary(records)]
    parts += [_section(record, plots.get(record.name)) for record in records]
    return "\n".join(parts)


def _summary(records: Sequence[Record]) -> str:
    rows = [(f"[{record.name}](#{record.name})", STUDIES[record.name], record.result.verdict) for record in records]
    return _table(("study", "question", "the notes' claim"), rows)


def _section(record: Record, plot: str | None) -> str:
    result = record.result
    lines = [
        f"## {record.name}",
        "",
        STUDIES[record.name],
        "",
        f"- **The notes:** {result.claim}",
        f"- **Here:** {result.finding}",
        f"- **The claim {result.verdict}.** Took {record.duration_s:.3g} s, from load average {record.load:.2f} on.",
        "",
    ]
    for head, checks in result.comparisons:
        rows = [(check.what, check.notes, check.here, show_holds(check.holds)) for check in checks]
        lines.append(_table(head, rows))
    if len(result.rows) <= MOST_ROWS:
        lines += [f"{result.title}:", "", _table(result.columns, _cells(result))]
    if plot is not None:
        lines += [f"![{result.title}]({plot})", ""]
    return "\n".join(lines)


def _cells(result: StudyResult) -> list[tuple[str, ...]]:
    return [tuple(map(show_cell, row)) for row in result.rows]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
