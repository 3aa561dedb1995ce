"""Faults in the weights: what a wrong file, a wrong dtype or one wrong number does to them."""

from collections.abc import Callable

import torch
from torch import Tensor

from evaluate.faults.fault import Context, Spoil, State, WeightFault

_MATRIX = 2
_KERNEL = 4


def _named(state: State, *, biases: bool) -> list[str]:
    """Return the names of the network's weights, or of its biases."""
    return [
        name
        for name, tensor in state.items()
        if name.startswith("network.")
        and tensor.is_floating_point()
        and "running" not in name
        and (tensor.ndim < _MATRIX and name.endswith("bias") if biases else tensor.ndim >= _MATRIX)
    ]


def _one(state: State, context: Context, *, biases: bool) -> tuple[str, int] | None:
    """Choose one number of one tensor, none that is 0."""
    names = _named(state, biases=biases)
    if not names:
        return None
    name = names[int(context.rng.integers(len(names)))]
    (places,) = torch.nonzero(state[name].flatten(), as_tuple=True)
    return (name, int(places[int(context.rng.integers(len(places)))])) if len(places) else None


def _change_one(change: Callable[[Tensor], Tensor], *, biases: bool = False) -> Spoil:
    def spoil(state: State, context: Context) -> State | None:
        chosen = _one(state, context, biases=biases)
        if chosen is None:
            return None
        name, place = chosen
        flat = state[name].flatten()
        flat[place] = change(flat[place])
        state[name] = flat.reshape(state[name].shape)
        return state

    return spoil


def _change_all(change: Callable[[Tensor], Tensor], *, which: str = "all") -> Spoil:
    def spoil(state: State, context: Context) -> State | None:  # noqa: ARG001
        names = _named(state, biases=False) + _named(state, biases=True)
        for name in {"all": names, "first": names[:1]}[which]:
            state[name] = change(state[name])
        return state

    return spoil


def _biases_of_one_layer(state: State, context: Context) -> State | None:
    names = _named(state, biases=True)
    name = names[int(context.rng.integers(len(names)))]
    state[name] = torch.zeros_like(state[name])
    return state


def _noise(state: State, context: Context) -> State | None:
    for name in _named(state, biases=False):
        noise = torch.from_numpy(context.rng.normal(size=tuple(state[name].shape)).astype("float32"))
        state[name] = state[name] * (1 + 1e-3 * noise)
    return state


def _stale(state: State, context: Context) -> State | None:
    other = context.stale.state_dict()
    return {name: other[name] for name in state}


def _stale_layer(state: State, context: Context) -> State | None:
    names = _named(state, biases=False)
    name = names[int(context.rng.integers(len(names)))]
    state[name] = context.stale.state_dict()[name]
    return state


def _exchange_rows(state: State, context: Context) -> State | None:  # noqa: ARG001
    name = _named(state, biases=False)[0]
    if len(state[name]) < _MATRIX:
        return None
    state[name] = state[name][[1, 0, *range(2, len(state[name]))]]
    return state


def _transpose(state: State, context: Context) -> State | None:  # noqa: ARG001
    square = [
        name
        for name in _named(state, biases=False)
        if state[name].ndim == _MATRIX and state[name].shape[0] == state[name].shape[1] > 1
    ]
    if not square:
        return None
    state[square[0]] = state[square[0]].T.contiguous()
    return state


def _turn_kernels(state: State, context: Context) -> State | None:  # noqa: ARG001
    """Convolve instead of correlating."""
    kernels = [name for name in _named(state, biases=False) if state[name].ndim == _KERNEL]
    for name in kernels:
        state[name] = state[name].flip(-1, -2)
    return state if kernels else None


def _eight_bits(tensor: Tensor) -> Tensor:
    step = tensor.abs().max().clamp(min=1e-30) / 127
    return (tensor / step).round() * step


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16).to(tensor.dtype)


WEIGHT_FAULTS: tuple[WeightFault, ...] = (
    WeightFault(kind="one weight + 1 %", spoil=_change_one(lambda value: value * 1.01)),
    WeightFault(kind="one weight - 1 %", spoil=_change_one(lambda value: value * 0.99)),
    WeightFault(kind="one weight of the other sign", spoil=_change_one(lambda value: -value)),
    WeightFault(kind="one weight lost", spoil=_change_one(lambda value: value * 0)),
    WeightFault(kind="one bias zeroed", spoil=_change_one(lambda value: value * 0, biases=True)),
    WeightFault(kind="one bias + 1 %", spoil=_change_one(lambda value: value * 1.01, biases=True)),
    WeightFault(kind="one layer's biases zeroed", spoil=_biases_of_one_layer),
    WeightFault(kind="weights through float16", spoil=_change_all(_half)),
    WeightFault(kind="weights through bfloat16", spoil=_change_all(lambda t: t.to(torch.bfloat16).to(t.dtype))),
    WeightFault(kind="first layer through float16", spoil=_change_all(_half, which="first")),
    WeightFault(kind="weights through eight bits", spoil=_change_all(_eight_bits)),
    WeightFault(kind="weights printed with three decimals", spoil=_change_all(lambda t: (t * 1e3).round() / 1e3)),
    WeightFault(kind="weights printed with five decimals", spoil=_change_all(lambda t: (t * 1e5).round() / 1e5)),
    WeightFault(kind="weights of another training", spoil=_stale),
    WeightFault(kind="one layer of another training", spoil=_stale_layer),
    WeightFault(kind="weights of a step before: 1e-3 of noise", spoil=_noise),
    WeightFault(kind="two outputs of the first layer exchanged", spoil=_exchange_rows),
    WeightFault(kind="a square layer transposed", spoil=_transpose),
    WeightFault(kind="kernels turned around", spoil=_turn_kernels),
)
