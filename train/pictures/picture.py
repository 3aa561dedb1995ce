"""What every picture is: a PNG, and the same in words."""

from dataclasses import dataclass, field
from pathlib import Path

from train.whole_file import write_whole

SUFFIX = ".png"


class PictureError(ValueError):
    """A picture that makes no sense of its subject, or that cannot be drawn or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture; the last expression of a notebook cell shows it, `print` says the same in words.

    Attributes:
        png: The picture.
        text: What it shows, for a terminal and for those who cannot see it.
    """

    png: bytes = field(repr=False)
    text: str

    def _repr_png_(self) -> bytes:
        return self.png

    def __str__(self) -> str:
        return self.text

    def write(self, path: Path | str) -> None:
        """Write the PNG, whole or not at all; an earlier picture there is replaced.

        Raises:
            PictureError: the name is not one of a PNG, or nothing can be written there.
        """
        path = Path(path)
        check_name(path)
        try:
            write_whole(path, self.png)
        except OSError as error:
            reason = error.strerror or error
            raise PictureError(
                f"picture {path} cannot be written ({reason}); free the place or give another --out"
            ) from error


def check_name(path: Path) -> None:
    """Check that a path is one for a picture.

    Raises:
        PictureError: it is a directory, or does not end in .png.
    """
    if path.is_dir():
        raise PictureError(f"{path} is a directory, but a file for the picture was expected; add a name to it")
    if path.suffix.lower() != SUFFIX:
        raise PictureError(f"{path} does not end in {SUFFIX}, but pictures are PNG; give a name that does")
