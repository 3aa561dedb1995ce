"""A study's result on disk: what `study all` keeps, and what the page of all studies is made from."""

import hashlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from train.studies.registry import StudyError
from train.studies.result import PLOT, StudyResult
from train.whole_file import leftover_prefix, write_whole

RECORD = "result.json"
FILES = (RECORD, PLOT)
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One study as it was carried out.

    Attributes:
        name: Of the study.
        fingerprint: Digest of what decides the result; see `fingerprint`.
        machine: What it ran on, for people.
        load: Load average of the machine when it began: what else was running then.
        duration_s: How long it took.
        result: What came out.
    """

    name: str
    fingerprint: str
    machine: str
    load: float
    duration_s: float
    result: StudyResult


def fingerprint(name: str, *, quick: bool, data_root: Path) -> str:
    """Return a digest over the package's source, torch's version, the form, and which files of Fashion-MNIST there are.

    Of the whole package: a study imports models, losses and readers, and what it imports may be changed.
    """
    digest = hashlib.sha256(f"{name} {quick} {version('torch')}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    for path in sorted((data_root / "FashionMNIST" / "raw").glob("*-ubyte")):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()


def check_folder(folder: Path) -> None:
    """Check that a folder is there or can be made, and can be written into.

    Raises:
        StudyError: a file stands in the way, or nothing may be written there.
    """
    place = folder.absolute()
    while not place.exists() and not place.is_symlink():
        place = place.parent
    if not place.is_dir():
        raise StudyError(f"{place} is a file or a broken link, but a folder was expected there; give another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StudyError(f"{place} cannot be written to, but a study is to write below it; give another place")


def check_out(folder: Path) -> None:
    """Check, before a study is carried out, that a folder is free for its plot and result.

    Raises:
        StudyError: it cannot be written to, or it holds something that is no study.
    """
    check_folder(folder)
    if folder.is_dir():
        left = tuple(leftover_prefix(name) for name in FILES)
        names = {entry.name for entry in folder.iterdir()}
        stray = sorted(name for name in names - {*FILES} if not name.startswith(left))
        if stray:
            raise StudyError(f"{folder} holds {stray[0]}, which is no part of a study; give another --out")


def describe_machine() -> str:
    """Return in a few words what a study runs on."""
    import torch

    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA"
    return f"{os.cpu_count()} CPU cores, {graphics}, torch {torch.__version__}, Python {platform.python_version()}"


def read_load() -> float:
    """Return the load average of the last minute; NaN has no place in JSON, so 0 where the system tells none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def write_record(record: Record, folder: Path) -> Path:
    """Write a record whole into a folder, which is made where it is missing, and return its path."""
    path = folder / RECORD
    write_whole(path, msgspec.json.format(msgspec.json.encode(record), indent=1))
    return path


def read_record(folder: Path) -> Record | None:
    """Return a folder's record, or None where there is none that this version can read."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
