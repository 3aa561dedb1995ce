"""The table of parity on terminals of any width: no word, number or line is broken inside a cell."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import made_up
import pytest
from rich.console import Console

from evaluate.print_certificate import print_certificate
from evaluate.tables import stdout_console

SETS = (
    "held-out samples",
    "random pixels, all 0, all 255",
    "held-out samples at every batch size from 1 to 64",
    "inputs sought for the greatest error",
)
COMPARISON = replace(made_up.COMPARISON, rows=2080, rmse=1.25e-7, max_error=2.5e-6)
GRAPH = replace(made_up.GRAPH, comparisons=tuple(replace(COMPARISON, input_set=name) for name in SETS))
WORSE = replace(COMPARISON, input_set=SETS[-1], rmse=8e-7, max_error=2e-3, verdict="fail")
TORCH = replace(GRAPH, graph="graph.torchscript.pt", provider="torch CPU")
CERTIFICATE = replace(
    made_up.CERTIFICATE,
    passed=False,
    precisions={"float32": "fail"},
    graphs=(
        GRAPH,
        replace(GRAPH, optimized=False, verdict="fail", reason="too far", comparisons=(*GRAPH.comparisons[:-1], WORSE)),
        replace(GRAPH, threads=1),
        TORCH,
        replace(TORCH, threads=1, verdict="unproven", reason="nothing varies"),
    ),
)


def printed(width: int) -> list[str]:
    target = io.StringIO()
    print_certificate(CERTIFICATE, Console(file=target, width=width, highlight=False))
    return [line.rstrip() for line in target.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_has_a_line_of_each_way(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    start = next(index for index, line in enumerate(lines) if line.startswith("graph "))
    assert [re.split(r"  +", line.strip()) for line in lines[start : start + 8]] == [
        ["graph", "rmse", "max", "verdict"],
        ["graph.onnx on CPU"],
        ["2 threads", "1.25", "2.50", "pass"],
        ["2 threads, as written", "8.00", "2e+03", "fail"],
        ["1 thread", "1.25", "2.50", "pass"],
        ["graph.torchscript.pt on torch CPU"],
        ["2 threads", "1.25", "2.50", "pass"],
        ["1 thread", "1.25", "2.50", "unproven"],
    ]
    assert lines[start + 8].startswith("of all inputs the worst; on a wider terminal")


@pytest.mark.parametrize("width", [*range(101, 133, 3), 132, 200])
def test_no_cell_is_broken_at_any_width(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    if rows:  # only the names of input sets go on in the next line, between words
        words = " ".join(row[1] for row in rows)
        assert words == " ".join([*SETS, *SETS])
        assert {row[-1] for row in rows} <= {"pass", "fail", "unproven", ""}
        assert [row[0] for row in rows if row[0]] == ["graph.onnx", "on CPU", "graph.torchscript.pt", "on torch CPU"]
        assert {cell for row in rows for cell in row[3:6]} <= {"1.25  2.50", "8.00 2e+03", ""}
    else:
        assert width < 120


def test_a_wide_terminal_has_a_line_of_each_set_of_inputs() -> None:
    assert sum(line.startswith("│") for line in printed(200)) == 2 * len(SETS)


def test_through_a_pipe_a_table_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert stdout_console().width == 132
    monkeypatch.setenv("COLUMNS", "90")
    assert stdout_console().width == 90
    for nonsense in ("0", "wide"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert stdout_console().width == 132


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_verdict_stays_where_nobody_reads_the_table(stream: str, unbuffered: str) -> None:
    code = f"""
import sys
from evaluate.tables import {stream}_console
from serve.stdout import run_main
def main():
    for _ in range(1000):
        {stream}_console().print("x" * 100)
    return 3
sys.exit(run_main(main))
"""
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
        closed, read = (process.stdout, process.stderr) if stream == "stdout" else (process.stderr, process.stdout)
        assert closed is not None
        assert read is not None
        closed.close()
        assert read.read() == b""
    assert process.returncode == 3
