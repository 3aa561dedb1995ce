"""Weights from elsewhere: read as tensors only, made to fit a network's names, and what does not fit named."""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.checkpoint import SAVE_WEIGHTS, choose_weights
from export.errors import ExportError
from export.first_line import first_line
from train.wording import some_names

PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and DistributedDataParallel; of torch.compile
_GLOBAL = re.compile(r"Unsupported (?:class|global): (?:GLOBAL )?([\w.]+)|GLOBAL ([\w.]+)")
_SHOWN_KEYS = 3
_ZIP = b"PK\x03\x04"
_UNQUANTISED = "give the weights from before they were quantised"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Tensors by name, and what had to be done to get them.

    Attributes:
        tensors: As the file holds them, prefixes and all.
        notes: Sentences for people.
        versions: Of the format of each part of the network that saved them, as torch's state_dict carries them along;
            empty where the file has none.
    """

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)


def read_weights(path: Path, key: str | None = None) -> Weights:
    """Read a ``.pt``, ``.pth`` or ``.safetensors`` file without running anything that stands in it.

    Args:
        path: The file.
        key: Under which of several names the weights stand in a checkpoint; found out where it is None.

    Raises:
        ExportError: there is no such file, it is damaged, holds something else than tensors, or several sets of them.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ExportError(f"--weights {path} {found}, but a .pt, .pth or .safetensors file was expected")
    if path.suffix == ".safetensors":
        tensors, notes = choose_weights(_read_safetensors(path), path, key)
        return Weights(tensors=tensors, notes=notes)
    if path.suffix not in {".pt", ".pth", ".bin", ".ckpt"}:
        raise ExportError(f"--weights {path} ends in {path.suffix or 'nothing'}, but .pt, .pth or .safetensors reads")
    if _is_torchscript(path):
        raise ExportError(
            f"--weights {path} is a TorchScript archive, a whole program, but tensors by name were expected; "
            f"where the model is at hand, {SAVE_WEIGHTS}"
        )
    state, notes = choose_weights(_read_pickle(path), path, key)
    _check_dense(state, path)
    return Weights(tensors={str(name): value for name, value in state.items()}, notes=notes, versions=_versions(state))


def load_weights(network: nn.Module, weights: Weights, *, source: str) -> tuple[str, ...]:
    """Put weights into a network, in float32.

    Args:
        network: Changed in place; also made float32.
        weights: What `read_weights` gave.
        source: What to call them in messages.

    Returns:
        Sentences about what was changed on the way.

    Raises:
        ExportError: names are missing or unexpected, or a tensor has another shape or kind.
    """
    network.float()
    expected = network.state_dict()
    tensors, notes = _strip(weights.tensors, expected)
    missing = [key for key in _missing(network, tensors) if not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in expected]
    if missing or unexpected:
        parts = [f"lacks {some_names(missing, most=_SHOWN_KEYS)}"] if missing else []
        parts += (
            [f"has {some_names(unexpected, most=_SHOWN_KEYS)}, which the network does not know"] if unexpected else []
        )
        raise ExportError(
            f"{source} does not fit {type(network).__name__}: it {' and '.join(parts)}; {_hint(expected, tensors)}"
        )
    _check_shapes(network, tensors, expected, source)
    lossy = [key for key, value in tensors.items() if value.is_floating_point() and value.dtype != torch.float32]
    if lossy:
        kinds = ", ".join(sorted({str(tensors[key].dtype).removeprefix("torch.") for key in lossy}))
        notes.append(f"{len(lossy)} of {len(tensors)} tensors are {kinds}; they were converted to float32")
    floats = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    network.load_state_dict(with_versions(network, floats, weights.versions), strict=False)
    return (*weights.notes, *notes)


def with_versions(
    network: nn.Module, tensors: Mapping[str, Tensor], versions: Mapping[str, Any] | None = None
) -> Mapping[str, Tensor]:
    """Return tensors with the version of each part's format, without which some networks (MNASNet) do not load them.

    Args:
        network: It will load them.
        tensors: By name.
        versions: Of the file that they are from; those of the network itself unless given.
    """
    state = OrderedDict(tensors)
    state._metadata = dict(versions) if versions else network.state_dict()._metadata  # type: ignore[attr-defined]
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ExportError(f"--weights {path} cannot be read as safetensors ({error}); copy it again") from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are no state_dict, torch asks for a report
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        if found is None:
            raise _damaged(path, error) from error
        raise ExportError(
            f"--weights {path} holds a pickled {found[1] or found[2]}, a whole model or an object of its program, and "
            f"reading that would run code; where it was trained, {SAVE_WEIGHTS}"
        ) from error
    except Exception as error:  # of damaged bytes, torch's reader raises whatever its parts do
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ExportError:
    with path.open("rb") as file:
        start = file.read(len(_ZIP))
    if not start:
        found = "is empty"
    elif start != _ZIP:
        found = "was not written by torch.save, or is damaged or cut short"
    elif "PytorchStreamReader" in str(error):  # four sentences of its own parts follow
        found = "is damaged inside" if zipfile.is_zipfile(path) else "is damaged or cut short: its end is missing"
    else:
        found = f"cannot be read ({first_line(error)})"
    return ExportError(f"--weights {path} {found}; copy it again, or {SAVE_WEIGHTS}")


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "constants.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # damaged, which torch's reader says better
        return False


def _check_dense(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        kind = "on device meta, without values" if tensor.is_meta else "sparse"
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_nested:
            remedy = "load the weights before they are saved" if tensor.is_meta else "save it as tensor.to_dense()"
            raise ExportError(f"--weights {path}: {name} is {kind}, but dense values were expected; {remedy}")


def _versions(state: Mapping[str, Tensor]) -> Mapping[str, Any]:
    found = getattr(state, "_metadata", None)
    if not isinstance(found, Mapping) or not all(isinstance(value, dict) for value in found.values()):
        return {}
    # of a network in a wrapper, the names of the parts are others
    wrapped = any(str(name).startswith(tuple(prefix.rstrip(".") for prefix in PREFIXES)) for name in found)
    return {} if wrapped else dict(found)


def _strip(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Take off what wrappers put before every name, as long as the network's own names do not start that way."""
    found, notes = dict(tensors), []
    while not found.keys() & expected.keys():
        prefix = next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in found)), None)
        if prefix is None:
            break
        found = {key.removeprefix(prefix): value for key, value in found.items()}
        notes.append(f"the prefix {prefix!r} was taken off every name of the weights")
    return found, notes


def _missing(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names that the weights lack; of tensors that share their memory, one name is enough."""
    own = network.state_dict(keep_vars=True)
    given = {id(own[key]) for key in tensors if key in own}
    return [key for key, value in own.items() if key not in tensors and id(value) not in given]


def _check_shapes(
    network: nn.Module, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str
) -> None:
    wrong = [key for key, value in tensors.items() if value.shape != expected[key].shape]
    if wrong:
        shapes = [
            f"{key} is {list(tensors[key].shape)}, not {list(expected[key].shape)}" for key in wrong[:_SHOWN_KEYS]
        ]
        raise ExportError(
            f"{source} does not fit {type(network).__name__}: {len(wrong)} of {len(tensors)} tensors have another "
            f"shape ({'; '.join(shapes)}); build it as it was trained, see --factory-args"
        )
    strange = [key for key, value in tensors.items() if expected[key].is_floating_point() != value.is_floating_point()]
    if strange:
        key = strange[0]
        remedy = "write the network with real tensors" if tensors[key].is_complex() else _UNQUANTISED
        raise ExportError(
            f"{source} does not fit {type(network).__name__}: {key} is {_dtype(tensors[key])}, but "
            f"{_dtype(expected[key])} was expected; {remedy}"
        )


def _hint(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """Say what would repair the names, where it is one prefix before all of them."""
    for key in tensors:
        for own in expected:
            if key.endswith("." + own) and all(key.removesuffix(own) + name in tensors for name in expected):
                prefix = key.removesuffix(own)
                return f"its names start with {prefix!r}: save {'model.' + prefix}state_dict() instead"
            if own.endswith("." + key) and all(own.removesuffix(key) + name in expected for name in tensors):
                return f"the network's names start with {own.removesuffix(key)!r}: name the inner network as --factory"
    return "build the network as it was trained, see --factory-args"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
