"""What a folder of one's own images holds: classes and files, with ``train`` and ``test`` above them or without."""

import os
from dataclasses import dataclass
from pathlib import Path

from serve.batch_source import SUFFIXES
from serve.legible import has_unfit_signs
from train.dataset import DataError, MissingDataError
from train.wording import some_names

SPLITS = ("train", "test")
_LEFT_BY_SYSTEMS = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a folder holds.

    Attributes:
        path: The folder.
        labels: Its classes: the names of the class folders, sorted.
        files: The images of each class, sorted, by split; under ``""`` where the folder has no splits itself.
    """

    path: Path
    labels: tuple[str, ...]
    files: dict[str, tuple[tuple[Path, ...], ...]]

    @property
    def is_split(self) -> bool:
        """Whether the folder says itself which images are held out."""
        return "" not in self.files


def list_image_folder(path: Path) -> Listing:
    """List the images below ``{train,test}/CLASS`` or ``CLASS``; hidden files are passed over.

    Raises:
        MissingDataError: there is no such folder.
        DataError: it holds no two classes with images, or something that does not belong there.
    """
    if not path.exists():
        raise MissingDataError(
            f"{path} does not exist, but a folder with one folder of images per class was expected; give another DIR"
        )
    if not path.is_dir():
        raise DataError(f"{path} is a file, but a folder with one folder of images per class was expected")
    home = Path(os.path.realpath(path))
    folders = _folders(path, home)
    names = {folder.name for folder in folders}
    own = [name for name in SPLITS if name in names]
    if len(own) == 1 and any(entry.is_dir() for entry in _visible(path / own[0])):
        other = SPLITS[1 - SPLITS.index(own[0])]
        raise DataError(
            f"{path} has {own[0]} with folders in it, but no {other}; name the held-out images' folder test and the "
            "others' train, or put the class folders directly into it"
        )
    if len(own) == 2:
        stray = sorted(names - set(SPLITS))
        if stray:
            raise DataError(
                f"{path / stray[0]} stands beside train and test, but nothing else is used; take it away "
                "(--validation sets training images aside to choose by)"
            )
        by_split = {name: _classes(path / name, home) for name in SPLITS}
        _check_same_classes(path, *(tuple(by_split[name]) for name in SPLITS))
    else:
        by_split = {"": _classes(path, home)}
    labels = tuple(next(iter(by_split.values())))
    if len(labels) < 2:
        raise DataError(
            f"{path} has one class alone, {labels[0]}, but at least two were expected to tell apart; add another folder"
        )
    return Listing(path=path, labels=labels, files={name: tuple(found.values()) for name, found in by_split.items()})


def _visible(path: Path) -> list[Path]:
    """Return what stands in a folder by name, without what is hidden or left there by systems."""
    try:
        entries = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); make it readable") from error
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in _LEFT_BY_SYSTEMS]


def _folders(path: Path, home: Path) -> list[Path]:
    """Return the folders in one that holds no images itself; what else stands there, a README say, is passed over."""
    folders = []
    for entry in _visible(path):
        _check_entry(entry, home)
        if entry.is_dir():
            folders.append(entry)
        elif entry.suffix.lower() in SUFFIXES:
            raise DataError(
                f"{entry} lies in no class, but each image was expected in the folder of its class; move it into one"
            )
    if not folders:
        raise DataError(f"{path} holds no folders, but one folder of images per class was expected; give another DIR")
    return folders


def _classes(path: Path, home: Path) -> dict[str, tuple[Path, ...]]:
    return {folder.name: _images(folder, home) for folder in _folders(path, home)}


def _images(folder: Path, home: Path) -> tuple[Path, ...]:
    files = _visible(folder)
    for file in files:
        _check_entry(file, home)
        if file.is_dir():
            raise DataError(f"{file} is a folder inside a class, but images were expected there; move or remove it")
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            raise DataError(
                f"{file} is no image, but only files that end in {', '.join(sorted(SUFFIXES))} were expected in a "
                "class; take it away"
            )
    if not files:
        raise DataError(f"{folder} is empty, but the images of one class were expected; add some, or remove the folder")
    return tuple(files)


def _check_entry(path: Path, home: Path) -> None:
    """Check that a name can be shown and written down, and that a link stays in the folder."""
    if has_unfit_signs(path.name):
        raise DataError(
            f"{path.name!a} in {path.parent} has signs in its name that cannot be shown, but it becomes a label "
            "or part of a digest; rename it"
        )
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
        raise DataError(f"{path} is a link that leads out of the folder; put what it names there instead")


def _check_same_classes(path: Path, train: tuple[str, ...], test: tuple[str, ...]) -> None:
    for have, lack, one, other in ((test, train, "test", "train"), (train, test, "train", "test")):
        alone = [name for name in have if name not in lack]
        if alone:
            raise DataError(
                f"{path / one} has class {alone[0]}, but {path / other} has {some_names(lack)}; both must have the "
                "same classes, so add its images there too or take it away"
            )
