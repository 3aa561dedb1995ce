"""Tables stand on consoles of any width without a broken word or quantity."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from evaluate.fitting_table import print_fitting

NAMES = ("graph.onnx", "graph.torchscript.pt")


def printed(width: int, *, columns: int = 5) -> str:
    table = Table(caption="two of nine graphs")
    table.add_column("graph")
    for index in range(columns):
        table.add_column(f"measure\nnumber {index}", justify="right")
    for name in NAMES:
        table.add_row(name, *["[bold]85.54 %[/]\n84.84 to 86.22"] * columns)
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        print_fitting(console, table)
    return captured.get()


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 200])
def test_nothing_is_broken_or_cut_at_any_width(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("85.54 %") == 10
    assert "…" not in text
    assert text.count("two of nine graphs") == 1
    assert all(text.count(name) == 1 for name in NAMES)


def test_the_table_is_ruled_where_it_fits_and_a_block_where_nothing_else_does() -> None:
    assert "┃" in printed(200)
    assert "┃" not in printed(72)
    assert "measure" in printed(72).splitlines()[0]
    blocks = printed(50).splitlines()
    assert blocks[0] == "graph.onnx"
    assert blocks[1].split(maxsplit=3) == ["measure", "number", "0", "85.54 % 84.84 to 86.22"]
