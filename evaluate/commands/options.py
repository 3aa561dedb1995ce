"""What commands of a bundle take: the bundle, some of its graphs, threads."""

from pathlib import Path
from typing import Annotated

import tyro

from serve.devices import usable_cpus

BundlePath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
ALL = ("all",)
"""What an option that names several things stands for unless it is given."""


class OptionError(ValueError):
    """An option whose value makes no sense."""


def chosen(option: str, names: tuple[str, ...], example: str) -> tuple[str, ...]:
    """Return what an option names; nothing where that is all.

    Raises:
        OptionError: the option is given, and names nothing.
    """
    if not names:
        raise OptionError(
            f"{option} is given without a name, but at least one was expected; give {example}, say, or leave it out "
            "for all"
        )
    return () if names == ALL else names


def check_threads(threads: int | None) -> None:
    """Check that a number of threads is one that this machine can run at once.

    Raises:
        OptionError: it is not.
    """
    cpus = usable_cpus()
    if threads is not None and threads < 1:
        raise OptionError(f"--threads is {threads}, but at least 1 computes; leave it out for all there are")
    if threads is not None and threads > cpus:
        raise OptionError(
            f"--threads is {threads}, but this machine has {cpus} CPU{'s' if cpus > 1 else ''}, and more threads only "
            f"wait for each other; give {cpus}, or leave it out for all there are"
        )
