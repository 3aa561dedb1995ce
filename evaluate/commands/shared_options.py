"""Options that several commands have, each with the help that all of them show."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

Provider = Annotated[
    Literal["auto", "cpu", "cuda"],
    tyro.conf.arg(help="What ONNX runs on: auto means the CPU, and CUDA where a device is there."),
]
FactoryName = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="MODULE:CALLABLE",
        help="What builds the network, where it is your own: package.module:callable or path/to/file.py:callable. It "
        "is run.",
    ),
]
Trust = Annotated[
    bool,
    tyro.conf.arg(
        help="Load an exported program (graph.pt2), too, though torch runs any code in it: the bundle is your own."
    ),
]
Key = Annotated[
    Path | None,
    tyro.conf.arg(
        metavar="KEY",
        help="Take only a bundle that the owner of this public key (PEM) signed with `python -m export.sign`; trust "
        "it.",
    ),
]
JsonFile = Annotated[
    Path | None,
    tyro.conf.arg(
        metavar="FILE", help="Also write what was found as JSON to this file; - is stdout, instead of the table."
    ),
]
