"""The flags of ``python -m export``, and which of them go together."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.errors import ExportError

Format = Literal["onnx", "torchscript", "exported-program", "onnx-fp16", "onnx-int8", "triton"]
Certify = Literal["full", "quick", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of your own instead of a RUN: what builds it, and its weights.

    python -m export --factory net.py:Net --weights net.pth --input "image:uint8[224,224,3]" --labels labels.txt

    python -m export --factory torchvision.models:resnet50 --weights DEFAULT
    """

    factory: Annotated[str | None, tyro.conf.arg(metavar="MODULE:CALLABLE")] = None
    """Class or function that returns a torch.nn.Module: package.module:callable, or path/to/file.py:callable. Its code
    is run."""

    factory_args: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...", help_behavior_hint="(default: none)")
    ] = ()
    """What to call it with: numbers, True, False or text, such as classes=10 pretrained=False."""

    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """A state_dict as .pt, .pth or .safetensors; read as tensors only. For a factory of torchvision.models also a name,
    such as IMAGENET1K_V1 or DEFAULT, which is downloaded and brings its own preprocessing and labels."""

    weights_key: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """Which weights of FILE to take, where it is a checkpoint with several: model_ema, say."""

    preset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Take preprocessing and labels from these weights of torchvision's, where --weights is a FILE. What you give
    yourself goes first: --labels for a network that was trained on, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What goes into your own network."""

    inputs: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="input", metavar="NAME:DTYPE[DIMS]")
    ] = ()
    """One input, without the batch. image:uint8[HEIGHT,WIDTH,3] (or 1) takes images: division by 255, --mean, --std and
    the transpose to channels first become part of the graph. features:float32[COLUMNS] takes a table. Any other dtype
    or shape, and every one of several inputs, is handed to forward as it is."""

    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,...", help_behavior_hint="")] = ()
    """Names of the table's columns, in order; x1, x2 and so on unless given."""

    mean: Annotated[tuple[float, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="")] = ()
    """Subtracted: per channel, of pixel / 255, or per column. 0 unless given."""

    std: Annotated[tuple[float, ...], tyro.conf.arg(metavar="N ...", help_behavior_hint="")] = ()
    """Divided by: per channel or per column. 1 unless given."""

    resize: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Resize the image's shorter side to N pixels and cut out the centre. Without --resize and --crop the whole image
    is stretched."""

    crop: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Side of the square that is cut out: the height and width of --input, which may be left out then."""

    interpolation: Annotated[Literal["bilinear", "bicubic"] | None, tyro.conf.arg(metavar="bilinear|bicubic")] = None
    """How pixels are resized; bilinear unless given."""

    samples: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Real inputs that the network was not trained on, to prove the bundle with: a folder of images (sub-folders named
    like labels give their true class), a .csv or .parquet, or an .npz with an array per input. Without it the proof
    rests on noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What comes out of your own network: give one of these, or none for tensors as they are."""

    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """It classifies and returns logits: names of the classes in order, one per line or as a JSON list. With one logit,
    two names: first what 0 means."""

    targets: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,...", help_behavior_hint="(default: none)")] = ()
    """It predicts numbers, (batch, targets): what they are called."""

    outputs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME,...", help_behavior_hint="(default: none)")] = ()
    """It returns tensors that mean something else: what they are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Turn a training run, or a network of your own, into a bundle: graphs, weights, golden inputs and the manifest.

    The bundle is written beside its target and renamed when it is whole; a bundle that stands there is replaced then,
    anything else is left alone. Next: python -m evaluate parity BUNDLE, which --certify does at once.

    Exit 0: written (and certified); 1: written, but the certificate says that parity fails; 2: trouble.
    """

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None
    """Directory that `python -m train run` wrote; or give a network of your own."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="BUNDLE")] = None
    """Bundle directory to write. Default: bundles/NAME."""

    formats: Annotated[tuple[Format, ...], tyro.conf.arg(metavar="FORMAT ...")] = ("onnx", "torchscript")
    """What to write, of onnx (which serving needs), torchscript, exported-program, onnx-fp16, onnx-int8 and triton."""

    opset: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """ONNX operator set that the graphs must have; torch's exporter chooses unless given. One that it cannot write, or
    that ONNX Runtime cannot run, is refused."""

    name: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What the model is called when it is served. Default: the recipe's name; for a network of your own, the last part
    of --out, or else the factory's."""

    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where a RUN's data is, for the golden inputs. Default: DATA_ROOT, else where the run read it."""

    certify: Annotated[Certify | None, tyro.conf.arg(metavar="full|quick|none")] = None
    """Judge the bundle at once with `python -m evaluate parity`, and exit 1 where it fails. Default: quick for a
    network of your own, none for a RUN."""

    network: tyro.conf.OmitArgPrefixes[Network] = field(default_factory=Network)
    goes_in: tyro.conf.OmitArgPrefixes[Inputs] = field(default_factory=Inputs)
    comes_out: tyro.conf.OmitArgPrefixes[Outputs] = field(default_factory=Outputs)


def check_flags(command: Export) -> None:
    """Check that the flags go together.

    Raises:
        ExportError: they do not.
    """
    given = [
        "--" + ("input" if item.name == "inputs" else item.name.replace("_", "-"))
        for group in (command.network, command.goes_in, command.comes_out)
        for item in fields(group)
        if getattr(group, item.name) not in (None, ())
    ]
    if command.run is not None and given:
        raise ExportError(
            f"both RUN {command.run} and {given[0]} are given, but a run brings its own network; give either RUN or "
            "--factory"
        )
    if command.run is not None:
        return
    if command.network.factory is None:
        raise ExportError(
            "neither RUN nor --factory is given, but one says what to export; give the directory that "
            "`python -m train run` wrote, or --factory file.py:callable --weights FILE"
        )
    if command.network.weights is None:
        raise ExportError(
            f"--factory {command.network.factory} is given without --weights, but a network without its weights "
            "predicts nothing; give --weights FILE"
        )
    if command.data_root is not None:
        raise ExportError("--data-root is where a RUN's data is, but --factory is given; give --samples PATH instead")


def split_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Read names that are parted by commas, blanks or both."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())
