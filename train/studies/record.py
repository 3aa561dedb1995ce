"""A study's result on disk: what `study all` keeps, and what the page of all studies is made from."""

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import msgspec

from train.studies.result import StudyResult

RECORD = "result.json"
_NO_PART_OF_A_STUDY = {"registry.py", "record.py", "page.py"}


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
    """Return a digest over the studies' source, the form, and which files of Fashion-MNIST there are."""
    digest = hashlib.sha256(f"{name} {quick}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name not in _NO_PART_OF_A_STUDY:
            digest.update(path.read_bytes())
    for path in sorted((data_root / "FashionMNIST" / "raw").glob("*-ubyte")):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()


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
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / RECORD, folder / f".{RECORD}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    partial.replace(path)
    return path


def read_record(folder: Path) -> Record | None:
    """Return a folder's record, or None where there is none that this version can read."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
