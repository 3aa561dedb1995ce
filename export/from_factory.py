"""From what the user names on the command line, a factory and weights, to everything that a bundle is made of."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from export.command import Export, split_names
from export.draft import Draft
from export.errors import ExportError
from export.factory import Args, Factory, build_module, load_factory, parse_args
from export.own_inputs import InputSettings, Interpolation
from export.own_model import OwnModel, draft_of_network, read_labels
from export.own_outputs import OutputSettings
from export.weights import Weights, load_weights, read_weights
from serve.bundle import NAME

if TYPE_CHECKING:
    from export.pretrained import Preset


def draft_of_factory(command: Export) -> tuple[Draft, tuple[str, ...]]:
    """Build the network, load its weights and look at it.

    Returns:
        The draft, and sentences for people.

    Raises:
        ExportError: something that was named is not there, or does not fit.
    """
    text, source = command.network.factory or "", command.network.weights or ""
    factory = load_factory(text)
    weights, preset = _weights(factory, source, command.network.preset, command.network.weights_key)
    args: Args = {**(preset.args if preset else {}), **parse_args(command.network.factory_args)}
    network = build_module(factory, args)
    notes = load_weights(network, weights, source=source)
    goes_in, comes_out = command.goes_in, command.comes_out
    inputs = InputSettings(
        inputs=goes_in.inputs,
        columns=split_names(goes_in.columns),
        mean=goes_in.mean,
        std=goes_in.std,
        resize=goes_in.resize,
        crop=goes_in.crop,
        interpolation=goes_in.interpolation,
    )
    outputs = OutputSettings(
        labels=read_labels(comes_out.labels) if comes_out.labels else (),
        targets=split_names(comes_out.targets),
        outputs=split_names(comes_out.outputs),
    )
    if preset is not None:
        inputs, outputs = _with_preset(inputs, outputs, preset)
    draft, more = draft_of_network(
        network,
        OwnModel(
            name=command.name or _name(command.out, factory),
            inputs=inputs,
            outputs=outputs,
            factory=factory.name,
            factory_args=args,
            factory_sha256=factory.sha256,
            samples=goes_in.samples,
            build=lambda: build_module(factory, args).float(),
            source=preset.name if preset and not Path(source).is_file() else Path(source).name,
        ),
    )
    return draft, (*notes, *more)


def _weights(
    factory: Factory, source: str, preset_name: str | None, key: str | None
) -> tuple[Weights, "Preset | None"]:
    """Read weights from a file, or where torchvision has some of that name, from there."""
    if Path(source).exists() or not (preset_name or factory.name.startswith("torchvision.")):
        preset = _find_preset(factory, preset_name) if preset_name else None
        return read_weights(Path(source), key), preset
    from export.pretrained import download

    if preset_name is not None:
        return read_weights(Path(source), key), _find_preset(factory, preset_name)
    if key is not None:
        raise ExportError(f"--weights-key is {key!r}, but --weights {source} is no file; leave --weights-key out")
    preset = _find_preset(factory, source)
    return download(preset), preset


def _find_preset(factory: Factory, name: str) -> "Preset":
    from export.pretrained import find_preset

    return find_preset(factory, name)


def _with_preset(
    inputs: InputSettings, outputs: OutputSettings, preset: "Preset"
) -> tuple[InputSettings, OutputSettings]:
    """Fill in what the user leaves open."""
    own_fit = bool(inputs.inputs or inputs.resize or inputs.crop)
    inputs = replace(
        inputs,
        mean=inputs.mean or preset.mean,
        std=inputs.std or preset.std,
        resize=inputs.resize if own_fit else preset.resize,
        crop=inputs.crop if own_fit else preset.crop,
        interpolation=inputs.interpolation or cast("Interpolation", preset.interpolation),
    )
    if not (outputs.labels or outputs.targets or outputs.outputs):
        outputs = replace(outputs, labels=preset.labels)
    return inputs, outputs


def _name(out: Path | None, factory: Factory) -> str:
    """Call the model like its bundle, or else like its factory."""
    if out is not None and re.fullmatch(NAME, out.name):
        return out.name
    place, _, attribute = factory.name.partition(":")
    general = attribute.lower() in {
        "build",
        "make",
        "create",
        "model",
        "net",
        "get_model",
        "create_model",
        "build_model",
    }
    return (Path(place).stem if place.endswith(".py") else place.rpartition(".")[2]) if general else attribute.lower()
