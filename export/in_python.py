"""From a module that is at hand, in a notebook or a script, to its bundle."""

import warnings
from collections.abc import Callable
from pathlib import Path

from torch import nn

from export.errors import ExportError
from export.formats import FORMATS
from export.own_inputs import InputSettings, Interpolation
from export.own_model import OwnModel, draft_of_network
from export.own_outputs import OutputSettings
from export.progress import SILENT, Listener, Step
from export.write import write_bundle
from serve.bundle import Manifest


def write_bundle_of(
    module: nn.Module,
    out: Path,
    *,
    inputs: tuple[str, ...],
    labels: tuple[str, ...],
    targets: tuple[str, ...],
    outputs: tuple[str, ...],
    columns: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    resize: int | None,
    crop: int | None,
    interpolation: Interpolation | None,
    samples: Path | None,
    formats: tuple[str, ...],
    opset: int | None,
    name: str | None,
    on_step: Callable[[Step], None] | None,
) -> Manifest:
    """Write the bundle; see `export.bundle`."""
    if not isinstance(module, nn.Module):
        raise ExportError(f"module is a {type(module).__name__}, but a torch.nn.Module was expected; pass the network")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ExportError(f"formats has {unknown[0]!r}, but only {', '.join(FORMATS)} can be written; leave it out")
    own = OwnModel(
        name=name if name is not None else out.name,
        inputs=InputSettings(
            inputs=inputs,
            columns=columns,
            mean=mean,
            std=std,
            resize=resize,
            crop=crop,
            interpolation=interpolation,
        ),
        outputs=OutputSettings(labels=labels, targets=targets, outputs=outputs),
        samples=samples,
    )
    found: list[str] = []
    listener = Listener(on_note=found.append, on_step=on_step or SILENT.on_step)
    with listener.step("network read", "reading the network"):
        draft, notes = draft_of_network(module, own)
    manifest = write_bundle(out, draft, formats=formats, opset=opset, listener=listener)
    found[:0] = notes
    for note in found:
        warnings.warn(note, stacklevel=3)  # what notebooks show
    return manifest
