"""What a network of one's own takes, as ``NAME:DTYPE[dims]``: an image, a table, or tensors as they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from export.deployable import MAX_INPUTS
from export.errors import ExportError
from export.input_text import parse_input
from export.own_names import refuse_unreadable
from serve.bundle import Feature, ImagePreprocessing, TensorSpec

Interpolation = Literal["bilinear", "bicubic"]
_IMAGE_RANK = 3
_COLORS: dict[int, Literal["L", "RGB"]] = {1: "L", 3: "RGB"}
_MOST_COLUMNS = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """What the user says of the inputs; empty where he says nothing."""

    inputs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: int | None = None
    crop: int | None = None
    interpolation: Interpolation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnInputs:
    """The inputs as a manifest records them.

    Attributes:
        specs: Names, dtypes and shapes.
        preprocessing: Of an image, else None.
        features: Columns of a table, else empty.
        mean: Per channel or column; empty for tensors that are taken as they are.
        std: The same.
    """

    specs: tuple[TensorSpec, ...]
    preprocessing: ImagePreprocessing | None = None
    features: tuple[Feature, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def read_inputs(settings: InputSettings) -> OwnInputs:
    """Turn what the user says into what the manifest records.

    Raises:
        ExportError: it cannot be read, or does not fit together.
    """
    texts = settings.inputs
    if not texts and settings.crop:
        texts = (f"image:uint8[{settings.crop},{settings.crop},3]",)
    if not texts:
        raise ExportError(
            "there is no --input, but it must be said what the network takes; give "
            '--input "image:uint8[224,224,3]" for images, or "features:float32[13]" for a table of 13 columns'
        )
    specs = tuple(parse_input(text) for text in texts)
    names = [spec.name for spec in specs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ExportError(f"--input names {twice[0]} twice, but each input has a name of its own; rename one")
    if len(specs) > MAX_INPUTS:
        raise ExportError(f"there are {len(specs)} inputs, but at most {MAX_INPUTS} can be exported; stack some")
    shape = specs[0].shape[1:]
    if len(specs) == 1 and specs[0].dtype == "uint8" and len(shape) == _IMAGE_RANK and shape[-1] in _COLORS:
        return _image(specs[0], settings)
    if len(specs) == 1 and (specs[0].name, specs[0].dtype) == ("image", "uint8"):
        raise ExportError(
            f"--input is {texts[0]!r}, but an image is [height,width,3], or [height,width,1] where it is grey, without "
            "the batch; give image:uint8[224,224,3], say, or another name than image to a tensor that is handed to "
            "forward as it is"
        )
    _refuse(settings, ("resize", "crop", "interpolation"), "an image such as image:uint8[224,224,3]", texts)
    if len(specs) == 1 and specs[0].dtype == "float32" and len(shape) == 1:
        return _table(specs[0], settings)
    _refuse(settings, ("columns", "mean", "std"), "a single image or table, and tensors are taken as they are", texts)
    return OwnInputs(specs=specs)


def _image(spec: TensorSpec, settings: InputSettings) -> OwnInputs:
    height, width, channels = (int(size) for size in spec.shape[1:])
    _refuse(settings, ("columns",), "a table such as features:float32[13]", (_text(spec),))
    if settings.crop is not None and (height, width) != (settings.crop, settings.crop):
        raise ExportError(
            f"--crop is {settings.crop}, but --input {spec.name} is {height} x {width}; what is cut out is what goes "
            "in, so give the same size to both"
        )
    fit: Literal["crop", "stretch"] = "crop" if settings.crop or settings.resize else "stretch"
    resize = (settings.resize or settings.crop) if fit == "crop" else None
    mean, std = _normalisation(settings, channels, "channels")
    try:
        preprocessing = ImagePreprocessing(
            color=_COLORS[channels],
            height=height,
            width=width,
            fit=fit,
            resize=resize,
            interpolation=settings.interpolation or "bilinear",
        )
    except ValueError as error:
        raise ExportError(f"--resize and --input do not fit together: {error}") from error
    return OwnInputs(specs=(spec,), preprocessing=preprocessing, mean=mean, std=std)


def _table(spec: TensorSpec, settings: InputSettings) -> OwnInputs:
    width = int(spec.shape[1])
    if width > _MOST_COLUMNS:
        raise ExportError(
            f"--input {spec.name} has {width:,} columns, but a table has at most {_MOST_COLUMNS:,}; give "
            f"{spec.name}:float32[1,{width}] for a tensor that is handed to forward as it is"
        )
    columns = settings.columns or tuple(f"x{index}" for index in range(1, width + 1))
    if len(columns) != width:
        raise ExportError(
            f"--columns names {len(columns)} columns, but --input {spec.name} has {width}; give one name per column"
        )
    refuse_unreadable(columns, "--columns names column")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ExportError(f"--columns names {twice[0]} twice, but each column has a name of its own; rename one")
    mean, std = _normalisation(settings, width, "columns")
    return OwnInputs(specs=(spec,), features=tuple(Feature(name=name) for name in columns), mean=mean, std=std)


def _normalisation(settings: InputSettings, width: int, what: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = settings.mean or (0.0,) * width, settings.std or (1.0,) * width
    for flag, values in (("--mean", mean), ("--std", std)):
        if len(values) != width:
            raise ExportError(f"{flag} has {len(values)} values, but the input has {width} {what}; give one for each")
        if not all(math.isfinite(value) for value in values):
            raise ExportError(f"{flag} is {list(values)}, but finite numbers were expected; give those of the training")
    if not all(value > 0 for value in std):
        raise ExportError(f"--std is {list(std)}, but every value must be above 0; give that of the training")
    return mean, std


def _refuse(settings: InputSettings, fields: Sequence[str], belongs_to: str, texts: Sequence[str]) -> None:
    for field in fields:
        if getattr(settings, field):
            raise ExportError(
                f"--{field} is given, but it belongs to {belongs_to}, and --input is {', '.join(texts)}; leave it out"
            )


def _text(spec: TensorSpec) -> str:
    return f"{spec.name}:{spec.dtype}[{','.join(str(size) for size in spec.shape[1:])}]"
