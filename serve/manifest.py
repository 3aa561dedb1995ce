"""The records of a bundle's manifest, and what must hold between them; nothing is read or written here."""

import re
from dataclasses import dataclass, field
from typing import Literal

from serve.legible import check_legible

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
CERTIFICATE = "certificate.json"
MAX_FILE_BYTES = 2**36  # a file is read whole, and a sparse one may promise far more than any machine holds
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # of a model

Task = Literal["classification", "binary-classification", "regression", "tensors"]
DType = Literal["uint8", "int64", "float16", "float32", "float64"]
Format = Literal["onnx", "onnx-data", "torchscript", "exported-program", "triton", "state-dict", "golden", "model-card"]
Precision = Literal["float32", "float16", "int8"]


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
        check_legible((self.name, *(size for size in self.shape if isinstance(size, str))), "a tensor or dimension")
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

    def __post_init__(self) -> None:
        check_legible((self.name, *self.categories), "a feature or category")


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
        if not 0 <= self.size_bytes <= MAX_FILE_BYTES:
            raise ValueError(
                f"file {self.path} has size_bytes {self.size_bytes:,}, but 0 to {MAX_FILE_BYTES:,} were expected"
            )


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


OUTPUT_NAMES: dict[Task, tuple[str, ...]] = {
    "classification": ("logits", "probabilities"),
    "binary-classification": ("logits", "probabilities"),
    "regression": ("prediction",),
}


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
        check_legible(self.labels, "a target" if self.task == "regression" else "a label")
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"model name is {self.name!r}, but only letters, digits, '.', '_' and '-' may stand in it")
        if not self.inputs or not self.outputs:
            raise ValueError("manifest.json lists no inputs or no outputs; export the bundle again")
        named = tuple(spec.name for spec in self.outputs)
        if self.task != "tensors" and named != OUTPUT_NAMES[self.task]:
            raise ValueError(
                f"manifest.json names the outputs {', '.join(named)}, but those of a {self.task} are "
                f"{', '.join(OUTPUT_NAMES[self.task])}; export the bundle again"
            )
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
