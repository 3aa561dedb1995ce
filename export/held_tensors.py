"""What a module holds: its weights, and the tensors and modules that torch does not know of."""

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from export.errors import ExportError
from train.wording import some_names

_SCRIPTED = (torch.jit.ScriptModule, torch.jit.TopLevelTracedModule)  # type: ignore[attr-defined]
_WEIGHT_HOOKS = (WeightNorm, SpectralNorm)  # they make a weight of parameters before each run
_SHOWN = 3
_WRAPPERS = re.compile(r"^(module(\.|$))?(network(\.|$))?")  # of the float64 reference, and of a Deployable


def check_weights(module: nn.Module) -> None:
    """Check that every parameter and buffer is there, is finite, and is what a float32 graph is made of.

    Raises:
        ExportError: one is lazy, on another device, float64, of half precision, complex, or holds NaN or infinity.
    """
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    lazy = [name for name, tensor in tensors if is_lazy(tensor)]
    if lazy:
        raise ExportError(
            f"{some(lazy)} of {_kind(module)} {_are(lazy)} lazy and still without a shape, but weights were expected; "
            "run one batch through the network and load its weights before it is exported"
        )
    away = {name: str(tensor.device) for name, tensor in tensors if tensor.device.type != "cpu"}
    if away:
        raise ExportError(
            f"{some([*away])} of {_kind(module)} {_are(away)} on {next(iter(away.values()))}, but the CPU was "
            "expected; call network.cpu(), or load the weights where they are on device meta"
        )
    other = {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in tensors
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != torch.float32
    }
    if other:
        kind = next(iter(other.values()))
        remedy = "write it with two real tensors" if "complex" in kind else "call network.float()"
        raise ExportError(
            f"{some([*other])} of {_kind(module)} {_are(other)} {kind}, but float32 was expected; {remedy}, and "
            "measure the accuracy again"
        )
    _check_finite(module)


def check_eager(module: nn.Module) -> None:
    """Check that no part of a module is a compiled program, which no exporter looks into.

    Raises:
        ExportError: one is.
    """
    scripted = [name for name, part in module.named_modules() if isinstance(part, _SCRIPTED)]
    outermost = [name for name in scripted if not any(name.startswith(f"{other}.") for other in scripted)]
    if outermost:
        raise ExportError(
            f"{some(part_name(module, name) for name in outermost)} {_are(outermost)} compiled by torch.jit, but "
            "exporters read modules of Python; build the network without torch.jit.script or torch.jit.trace, and load "
            "its weights"
        )


def loose_tensors(module: nn.Module) -> tuple[str, ...]:
    """Name the tensors among a module's attributes that are neither parameters nor buffers.

    Raises:
        ExportError: a module or a parameter stands in a plain list or dictionary, where neither saving, nor moving,
            nor `eval` finds it.
    """
    known = {id(part) for part in module.modules()} | {id(tensor) for tensor in module.parameters()}
    known |= {id(tensor) for tensor in module.buffers()}
    loose: list[str] = []
    for owner, part in module.named_modules():
        made = {hook.name for hook in part._forward_pre_hooks.values() if isinstance(hook, _WEIGHT_HOOKS)}
        for attribute, value in vars(part).items():
            if attribute in {"_parameters", "_buffers", "_modules"} | made:
                continue
            name = bare_name(f"{owner}.{attribute}".lstrip("."))
            for item in _items(value):
                if id(item) in known:
                    continue
                if isinstance(item, nn.Module) and any(True for _ in item.state_dict()):
                    raise ExportError(
                        f"{name} of {_kind(module)} holds a {type(item).__name__} in a plain list, dictionary or "
                        "attribute, where neither saving nor eval() finds it; use nn.ModuleList or nn.ModuleDict"
                    )
                if isinstance(item, Tensor) and (isinstance(item, nn.Parameter) or item.requires_grad):
                    raise ExportError(
                        f"{name} of {_kind(module)} is a weight outside the parameters, so it is neither saved nor "
                        "learnt; make it an nn.Parameter of its own, or put it into nn.ParameterList"
                    )
                if isinstance(item, Tensor) and name not in loose:
                    loose.append(name)
    return tuple(loose)


def part_name(module: nn.Module, name: str) -> str:
    """Return what people call a part of a module: its name within their network, or the network's class."""
    return bare_name(name) or _kind(module)


def bare_name(name: str) -> str:
    """Return what people call a tensor: its name within their network."""
    return _WRAPPERS.sub("", name)


def some(names: Iterable[str]) -> str:
    """Return the first few names, as the network knows them, and how many more there are."""
    return some_names([bare_name(name) for name in names], most=_SHOWN)


def _check_finite(module: nn.Module) -> None:
    faulty = [name for name, tensor in module.named_parameters() if not torch.isfinite(tensor).all()]
    # infinity is what masks are made of, but a running mean or variance is none
    faulty += [
        name
        for name, tensor in module.named_buffers()
        if tensor.is_floating_point() and (tensor.isnan().any() or ("running_" in name and tensor.isinf().any()))
    ]
    if faulty:
        raise ExportError(
            f"{some(faulty)} of {_kind(module)} {'holds' if len(faulty) == 1 else 'hold'} NaN or infinity, but finite "
            "weights were expected; its training diverged: train again with a smaller learning rate"
        )


def _items(value: object) -> Iterator[object]:
    """Yield a value, or what stands in it where it is a list, tuple, set or dictionary; two levels deep."""
    yield value
    for item in _inside(value):
        yield item
        yield from _inside(item)


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value


def _kind(module: nn.Module) -> str:
    network = getattr(module, "module", module)
    return type(getattr(network, "network", network)).__name__


def _are(names: Iterable[str]) -> str:
    return "is" if len(list(names)) == 1 else "are"
