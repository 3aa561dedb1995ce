"""Which files a batch prediction reads: a folder, a pattern, a list or one image, in an order that repeats."""

import hashlib
import os
from pathlib import Path

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
_MAGIC = "*?["
_LIST_BYTES = 1 << 30


class SourceError(ValueError):
    """A source that names no images."""


def list_files(source: str) -> list[Path]:
    """Return the files a source names.

    A folder is searched for image files by suffix, folders inside it included, in sorted order; hidden files and links
    to folders are passed over. A pattern takes every file it matches, sorted; ``**`` enters no links to folders.
    A text file lists one path per line, relative to the working directory; its order and repetitions are kept. A file
    with an image suffix is that one image.

    Raises:
        SourceError: there is nothing at the source, or no file that it names.
    """
    path = Path(source)
    if path.is_dir():
        files = _in_folder(path)
        if not files:
            known = ", ".join(sorted(SUFFIXES))
            raise SourceError(
                f"{source} holds no image files, but files with one of {known} were expected; give another folder"
            )
        return files
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else _in_list(path)
    if any(sign in source for sign in _MAGIC):
        files = _in_pattern(path)
        if not files:
            raise SourceError(f"pattern {source} matches no file; check it, and put it in quotes")
        return files
    raise SourceError(f"{source} does not exist, but a folder, a pattern in quotes, a list or an image was expected")


def shown(path: Path) -> str:
    """Return a path as it stands in the results.

    A relative path whose first sign a spreadsheet would take for a formula gets ``./`` before it, which names the same
    file; bytes that are no UTF-8 are written as escapes.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return f"./{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else text


def digest_files(files: list[Path]) -> str:
    """Return the sha256 over all paths with their sizes and times of change: of the list, not of the contents."""
    digest = hashlib.sha256()
    for path in files:
        try:
            status = path.stat()
        except OSError:
            state = "-"
        else:
            state = f"{status.st_size} {status.st_mtime_ns}"
        digest.update(os.fsencode(path) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()


def _in_folder(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(path for path in found if not path.is_dir())


def _in_pattern(pattern: Path) -> list[Path]:
    parts = pattern.parts
    fixed = next(position for position, part in enumerate(parts) if any(sign in part for sign in _MAGIC))
    base, rest = Path(*parts[:fixed]), parts[fixed:]
    hidden = any(part.startswith(".") for part in rest)  # as in a shell, only a pattern that names a dot finds one
    try:
        found = [path for path in base.glob(str(Path(*rest))) if path.is_file()]
    except ValueError as error:
        raise SourceError(f"pattern {pattern} is not valid ({error}); write ** as a whole path part") from None
    return sorted(
        path for path in found if hidden or not any(part.startswith(".") for part in path.relative_to(base).parts)
    )


def _in_list(path: Path) -> list[Path]:
    size = path.stat().st_size
    if size > _LIST_BYTES:
        raise SourceError(f"list {path} has {size:,} bytes, but at most {_LIST_BYTES:,} are read; split it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SourceError(
            f"{path} is no known image and no text, but an image or a list of paths in UTF-8 was expected"
        )
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise SourceError(f"list {path} names no files, but one path per line was expected")
    return [Path(line.removesuffix("\r")) for line in lines]
