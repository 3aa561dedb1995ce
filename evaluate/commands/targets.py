"""Files that a command is to write, refused before anything is run where they could not be written after it."""

from pathlib import Path


class TargetError(ValueError):
    """A file that cannot be written where it is asked for."""


def check_file(option: str, path: Path | None) -> None:
    """Check that a file can stand where an option says.

    Raises:
        TargetError: it cannot.
    """
    if path is not None and (not path.parent.is_dir() or path.is_dir()):
        raise TargetError(f"{option} is {path}, but that is no place for a file; give a file in a folder that exists")


def check_png(option: str, path: Path | None) -> None:
    """Check that a picture can stand where an option says.

    Raises:
        TargetError: it cannot, or has the name of something else.
    """
    if path is not None and path.suffix.lower() != ".png":
        raise TargetError(f"{option} is {path}, but the chart is a PNG; give the name of a file that ends in .png")
    check_file(option, path)
