"""Turn a PyTorch module into a bundle: ``import export; export.bundle(module, "bundles/mine", …)``.

Inits are empty elsewhere. This one holds the one function that notebooks call, and imports what it needs only then, so
that `python -m export --help` stays instant.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

    from export.progress import Step
    from serve.bundle import Manifest


def bundle(
    module: "nn.Module",
    out: str | Path,
    *,
    inputs: str | Sequence[str] = (),
    labels: Sequence[str] = (),
    targets: Sequence[str] = (),
    outputs: Sequence[str] = (),
    columns: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    resize: int | None = None,
    crop: int | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    samples: str | Path | None = None,
    formats: Sequence[str] = ("onnx", "torchscript"),
    opset: int | None = None,
    name: str | None = None,
    on_step: "Callable[[Step], None] | None" = None,
) -> "Manifest":
    """Write a bundle of a module that is at hand, as `python -m export --factory` does of one that is named.

    The bundle records nothing that builds the module again, so it is judged where the module is:
    ``evaluate.judge.certify(serve.bundle.read_bundle(out), module=module)``.

    Args:
        module: With its weights; it is not changed.
        out: Bundle directory to write.
        inputs: One or several ``NAME:DTYPE[dims]``, without the batch: ``image:uint8[224,224,3]``.
        labels: Names of the classes, where the module returns logits.
        targets: What the numbers are called that it predicts.
        outputs: What its outputs are called, where they mean something else.
        columns: Names of a table's columns.
        mean: Per channel, of pixel / 255, or per column; subtracted in the graph.
        std: Per channel or per column; divided by in the graph.
        resize: Pixels that an image's shorter side is resized to before its centre is cut out.
        crop: Pixels of the side that is cut out.
        interpolation: How pixels are resized.
        samples: Real inputs to prove the bundle with: a folder of images, a table, or an .npz.
        formats: Names of `export.formats.FORMATS`.
        opset: ONNX operator set that the graphs must have; torch's exporter chooses unless given.
        name: What it is called when it is served; the last part of `out` unless given.
        on_step: Called with each step that is done: its name, the bytes of its file where it wrote one, its duration.

    Returns:
        The manifest as written.

    Raises:
        export.errors.ExportError: the module does not fit what is said of it, or cannot be exported.
    """
    from export.in_python import write_bundle_of

    return write_bundle_of(
        module,
        Path(out),
        inputs=(inputs,) if isinstance(inputs, str) else tuple(inputs),
        labels=tuple(labels),
        targets=tuple(targets),
        outputs=tuple(outputs),
        columns=tuple(columns),
        mean=tuple(mean),
        std=tuple(std),
        resize=resize,
        crop=crop,
        interpolation=interpolation,
        samples=Path(samples) if samples is not None else None,
        formats=tuple(formats),
        opset=opset,
        name=name,
        on_step=on_step,
    )
