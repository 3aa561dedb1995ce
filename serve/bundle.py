"""The bundle: what export writes, serve runs and evaluate judges. Records, integrity, reading; nothing else."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import msgspec

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
CERTIFICATE = "certificate.json"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # of a model
MAX_MANIFEST_BYTES = 16 << 20
MAX_CERTIFICATE_BYTES = 64 << 20

Task = Literal["classification", "binary-classification", "regression", "tensors"]
DType = Literal["uint8", "int64", "float16", "float32", "float64"]
Format = Literal["onnx", "onnx-data", "torchscript", "exported-program", "triton", "state-dict", "golden", "model-card"]
Precision = Literal["float32", "float16", "int8"]

_SEAL = re.compile(rb'"sha256": "([0-9a-f]{64})"')
_UNSEALED = b'"sha256": "' + b"0" * 64 + b'"'


class Sealed(Protocol):
    """A record that holds the digest of its own document."""

    @property
    def sha256(self) -> str:
        """The digest."""
        ...


T = TypeVar("T", bound=Sealed)


class BundleError(ValueError):
    """A bundle that cannot be trusted: missing, incomplete, altered or malformed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a graph.

    ``shape`` holds an int for a fixed dimension and a name for a dynamic one: ``("batch", 28, 28, 1)``.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if not self.shape or self.shape[0] != "batch":
            raise ValueError(
                f'tensor {self.name} has shape {list(self.shape)}, but the first dimension must be "batch"'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePreprocessing:
    """What happens to an image before the graph sees it; `serve.preprocess` is its only implementation.

    Attributes:
        color: Colour mode of the array: ``L`` has one channel, ``RGB`` three.
        height: Rows of the array, pixels.
        width: Columns of the array, pixels.
        fit: ``stretch`` resizes the whole image; ``crop`` resizes its shorter side to `resize` and cuts out the centre;
            ``ink`` cuts out the drawing, makes it white on black, centres it in a square and resizes that.
        resize: Pixels of the shorter side before the centre is cut out; of ``crop`` alone.
        interpolation: How pixels are resized.
        background: Grey level, 0 to 255, laid under transparent pixels.
        drawing: Whether a hand drawing is a sensible input, so that the page offers a sketchpad.
    """

    color: Literal["L", "RGB"]
    height: int
    width: int
    fit: Literal["stretch", "crop", "ink"] = "stretch"
    background: int = 255
    drawing: bool = False
    resize: int | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"image size is {self.height}x{self.width}, but both sides must be at least 1")
        if not 0 <= self.background <= 255:
            raise ValueError(f"background is {self.background}, but must lie in 0 to 255")
        if (self.fit == "crop") != (self.resize is not None):
            raise ValueError(
                f"fit is {self.fit} and resize {self.resize}, but a size to resize to belongs to crop, and to it alone"
            )
        if self.resize is not None and self.resize < max(self.height, self.width):
            raise ValueError(
                f"images are resized to {self.resize}, but {self.height}x{self.width} are to be cut out of them; "
                "resize to at least that"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one prepared image, ``(height, width, channels)``."""
        return self.height, self.width, 1 if self.color == "L" else 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of a tabular input.

    Attributes:
        name: What the column is called in tables.
        categories: What the column may say, where it holds words: the graph takes their index. Empty for numbers.
        optional: Whether a value may be missing; the graph takes NaN for it.
    """

    name: str
    categories: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle.

    Attributes:
        path: Plain names with ``/`` between them, from the bundle's directory on.
        format: What it is; ``onnx-data`` holds the weights of the ONNX graph whose path it carries before ``.data``.
        precision: What a graph computes in.
        note: What was measured when it was made, for people.
    """

    path: str
    format: Format
    precision: Precision | None
    size_bytes: int
    sha256: str
    note: str = ""

    def __post_init__(self) -> None:
        names = self.path.split("/")
        plain = all(re.fullmatch(r"[A-Za-z0-9._-]+", name) and name not in {".", ".."} for name in names)
        if not plain or self.path in {MANIFEST, CERTIFICATE}:
            raise ValueError(f"file path {self.path!r} is not made of plain names inside the bundle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the model came from: enough to build the eager module again and to say what it was trained on."""

    recipe: str | None
    factory: str
    factory_args: dict[str, int | float | str | bool]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int | None
    dataset: str
    dataset_sha256: str
    device: str
    versions: dict[str, str]
    source_revision: str | None
    training: dict[str, int | float | str | bool | None] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    factory_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json`. Its presence means that the bundle is complete; `sha256` is the digest of the file itself.

    Where ``row_independent`` is false, a row's answer depends on the rows beside it, so that each is to be run alone.
    """

    schema_version: int
    sha256: str
    name: str
    task: Task
    labels: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: ImagePreprocessing | None
    files: tuple[FileEntry, ...]
    provenance: Provenance
    features: tuple[Feature, ...] = ()
    row_independent: bool = True

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"manifest.json has schema_version {self.schema_version}, but this version reads {SCHEMA_VERSION}; "
                "export the bundle again"
            )
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"model name is {self.name!r}, but only letters, digits, '.', '_' and '-' may stand in it")
        if not self.inputs or not self.outputs:
            raise ValueError("manifest.json lists no inputs or no outputs; export the bundle again")
        if self.features and self.inputs[0].shape[-1] != len(self.features):
            raise ValueError(
                f"manifest.json describes {len(self.features)} features, but input {self.inputs[0].name} has "
                f"{self.inputs[0].shape[-1]}; export the bundle again"
            )
        if self.preprocessing is not None and self.inputs[0].shape[1:] != self.preprocessing.shape:
            raise ValueError(
                f"manifest.json prepares images of shape {list(self.preprocessing.shape)}, but input "
                f"{self.inputs[0].name} takes {list(self.inputs[0].shape[1:])}; export the bundle again"
            )
        paths = [entry.path for entry in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("manifest.json lists a file twice; export the bundle again")
        graphs = {entry.sha256 for entry in self.files if entry.format in {"onnx", "onnx-data"}}
        for entry in self.files:
            if entry.format == "triton" and entry.path.endswith((".onnx", ".data")) and entry.sha256 not in graphs:
                raise ValueError(
                    f"{entry.path} is no copy of an ONNX graph that manifest.json lists, so nobody judges it; "
                    "export the bundle again"
                )
        if self.task == "binary-classification" and len(self.labels) != 2:
            raise ValueError(f"manifest.json has {len(self.labels)} labels, but a binary classification has 2")
        classes = {
            spec.shape[-1] for spec in self.outputs if spec.name == "probabilities" and self.task == "classification"
        }
        if classes and classes != {len(self.labels)}:
            raise ValueError(
                f"manifest.json has {len(self.labels)} labels, but probabilities have {classes.pop()} classes; "
                "give one label per class"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk whose files have been checked against the manifest."""

    path: Path
    manifest: Manifest

    def entry(self, file_format: Format, precision: Precision | None = None) -> FileEntry | None:
        """Return the file of that format (and precision, where one is given), or None."""
        return next(
            (f for f in self.manifest.files if f.format == file_format and precision in (None, f.precision)), None
        )

    def read_weights(self, graph: FileEntry) -> dict[str, bytes]:
        """Return the files that hold an ONNX graph's weights, by the names that the graph gives them; mostly none.

        Raises:
            BundleError: as `read`.
        """
        return {
            entry.path.rpartition("/")[2]: self.read(entry)
            for entry in self.manifest.files
            if entry.format == "onnx-data" and entry.path == f"{graph.path}.data"
        }

    def read(self, entry: FileEntry) -> bytes:
        """Return a file's bytes, checked on this very read, so that what was verified is what is used.

        Raises:
            BundleError: the file is missing or differs from what the manifest records.
        """
        path = self.path / entry.path
        try:
            _check_folders(self.path, entry.path)
            size_bytes = _size_bytes(path)
            if size_bytes != entry.size_bytes:
                raise BundleError(
                    f"{path} has {size_bytes:,} bytes, but {MANIFEST} records {entry.size_bytes:,}; "
                    "export the bundle again, or copy it whole"
                )
            content = _read(path, size_bytes)
        except FileNotFoundError:
            raise BundleError(
                f"{path} is missing, but {MANIFEST} lists it; export the bundle again, or copy it whole"
            ) from None
        except OSError as error:
            raise BundleError(
                f"{path} cannot be read ({error.strerror}); export the bundle again, or copy it whole"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            raise BundleError(
                f"{path} has sha256 {found[:12]}…, but {MANIFEST} records {entry.sha256[:12]}…; export the bundle again"
            )
        return content


def seal(document: bytes) -> bytes:
    """Return a JSON document whose first ``"sha256"`` field holds the digest of the document with that field zeroed.

    A file cannot hold its own digest, but it can hold the digest of itself with 64 zeros in that place.

    Raises:
        ValueError: the document has no zeroed ``"sha256"`` field.
    """
    if _UNSEALED not in document:
        raise ValueError('the document has no "sha256" field of 64 zeros to seal')
    digest = hashlib.sha256(document).hexdigest().encode()
    return document.replace(_UNSEALED, b'"sha256": "' + digest + b'"', 1)


def check_seal(document: bytes, path: Path) -> str:
    """Check a document written by `seal`, so that any changed byte is noticed.

    Returns:
        The sealed digest.

    Raises:
        BundleError: the document is not what was sealed.
    """
    match = _SEAL.search(document)
    if match is None:
        raise BundleError(f"{path} holds no sha256 of itself, so it was altered or cut short; make it again")
    recorded = match.group(1).decode()
    found = hashlib.sha256(document[: match.start()] + _UNSEALED + document[match.end() :]).hexdigest()
    if found != recorded:
        raise BundleError(f"{path} has sha256 {found[:12]}…, but records {recorded[:12]}… of itself; make it again")
    return recorded


def encode_sealed(record: object) -> bytes:
    """Return a record with a zeroed ``sha256`` field as indented, sealed JSON."""
    return seal(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def decode_sealed(document: bytes, record_type: type[T], path: Path) -> T:
    """Return the record in a sealed JSON document.

    The seal is the first ``"sha256"`` of the document, and the record's field is the last one of that name: they must
    be the same, or a document could be sealed with one digest and speak of itself with another.

    Raises:
        BundleError: the document was altered, or does not hold such a record.
    """
    sealed = check_seal(document, path)
    try:
        record = msgspec.json.decode(document, type=record_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is not valid: {error}") from error
    if record.sha256 != sealed:
        raise BundleError(
            f"{path} is sealed with sha256 {sealed[:12]}…, but calls itself {record.sha256[:12]}…, so it was altered; "
            "make it again"
        )
    return record


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check every file of it against its digest.

    Raises:
        BundleError: the bundle is missing, incomplete, altered or of another schema.
    """
    if not path.exists():
        raise BundleError(
            f"{path} does not exist, but a bundle directory was expected; make one with `python -m export RUN`"
        )
    if not path.is_dir():
        raise BundleError(f"{path} is a file, but a bundle is a directory with a {MANIFEST}; give the directory")
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(
            f"{path} has no {MANIFEST}, so it is no bundle or its export did not finish; "
            "make it with `python -m export RUN`"
        )
    manifest = decode_sealed(_read_document(manifest_path, MAX_MANIFEST_BYTES), Manifest, manifest_path)
    bundle = Bundle(path=path, manifest=manifest)
    for entry in manifest.files:
        bundle.read(entry)
    read_certificate(bundle)
    return bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHead:
    """The part of `certificate.json` that binds it to one bundle; evaluate owns the rest."""

    sha256: str
    bundle_sha256: str
    passed: bool
    precisions: dict[str, str] = field(default_factory=dict)


def read_certificate(bundle: Bundle) -> CertificateHead | None:
    """Return what the bundle's certificate says of it, or None where it has none.

    Raises:
        BundleError: the certificate cannot be read, was altered, or certifies another bundle.
    """
    path = bundle.path / CERTIFICATE
    if not os.path.lexists(path):
        return None
    return check_certificate(_read_document(path, MAX_CERTIFICATE_BYTES), path, bundle.manifest)


def check_certificate(document: bytes, path: Path, manifest: Manifest) -> CertificateHead:
    """Check that a certificate is intact and speaks of this very bundle.

    Raises:
        BundleError: it was altered, or certifies another bundle.
    """
    head = decode_sealed(document, CertificateHead, path)
    if head.bundle_sha256 != manifest.sha256:
        raise BundleError(
            f"{path} certifies bundle {head.bundle_sha256[:12]}…, but this is {manifest.sha256[:12]}…; "
            "run `python -m evaluate parity` again"
        )
    return head


def _read_document(path: Path, max_bytes: int) -> bytes:
    try:
        size_bytes = _size_bytes(path)
        if size_bytes > max_bytes:
            raise BundleError(f"{path} has {size_bytes:,} bytes, but at most {max_bytes:,} are read; make it again")
        return _read(path, size_bytes)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); make it again") from error


def _check_folders(bundle: Path, file: str) -> None:
    """Check that the folders between a bundle and one of its files are none but its own."""
    folder = bundle
    for name in file.split("/")[:-1]:
        folder /= name
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise BundleError(f"{folder} is no folder, but one was expected; copy the bundle with its files, not links")


def _size_bytes(path: Path) -> int:
    """Return the size of a file; what is none could keep a reader waiting, or lead it out of the bundle."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path} is no regular file, but one was expected; copy the bundle with its files, not links")
    return found.st_size


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(max_bytes)
