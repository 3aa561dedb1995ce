"""Faults inside the network: a layer that computes something a little else than the one it stands for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluate.faults.fault import Context, ModuleFault, Plant
from evaluate.faults.networks import Attention, Block, Branch, Transformer

Make = Callable[[nn.Module], nn.Module]
_TF32_BITS = 11


class Wrapped(nn.Module):
    """A layer with something before and after it."""

    def __init__(self, layer: nn.Module, change: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.change = change

    def forward(self, values: Tensor) -> Tensor:
        """Run one batch."""
        return self.change(self.layer, values)


class Function(nn.Module):
    """A function in place of a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        """Run one batch."""
        return self.function(values)


def replace_layers(
    network: nn.Module, types: type[nn.Module] | tuple[type[nn.Module], ...], make: Make, *, which: str = "all"
) -> bool:
    """Put other layers in place of those of some types: of all, or of the first or the last one.

    Returns:
        Whether there was any.
    """
    names = [name for name, part in network.named_modules() if name and isinstance(part, types)]
    chosen = {"all": names, "first": names[:1], "last": names[-1:]}[which]
    for name in chosen:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, make(network.get_submodule(name)))
    return bool(chosen)


def _replace(types: type[nn.Module] | tuple[type[nn.Module], ...], make: Make, which: str = "all") -> Plant:
    def plant(module: nn.Module, context: Context) -> nn.Module | None:  # noqa: ARG001
        return module if replace_layers(module.get_submodule("network"), types, make, which=which) else None

    return plant


def _function(types: type[nn.Module], function: Callable[[Tensor], Tensor], which: str = "all") -> Plant:
    return _replace(types, lambda _: Function(function), which)


def _wrap(
    types: type[nn.Module] | tuple[type[nn.Module], ...], change: Callable[[nn.Module, Tensor], Tensor], which: str
) -> Plant:
    return _replace(types, lambda layer: Wrapped(layer, change), which)


def _with(types: type[nn.Module], **attributes: object) -> Plant:
    """Give layers other attributes."""

    def make(layer: nn.Module) -> nn.Module:
        for name, value in attributes.items():
            setattr(layer, name, value)
        return layer

    return _replace(types, make)


def _pad(mode: str) -> Plant:
    """Let convolutions pad by something else than zeros, where they pad at all."""
    wrong = {"replicate": nn.ReplicationPad2d, "reflect": nn.ReflectionPad2d}[mode]

    def change(layer: nn.Module, values: Tensor) -> Tensor:
        return layer(wrong(1)(values))[:, :, 1:-1, 1:-1]  # type: ignore[no-any-return]

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        convolutions = (part for part in module.modules() if isinstance(part, nn.Conv2d))
        if not any(part.padding == (1, 1) for part in convolutions):
            return None
        return _wrap(nn.Conv2d, change, "all")(module, context)

    return plant


def _through(dtype: torch.dtype) -> Callable[[nn.Module, Tensor], Tensor]:
    def change(layer: nn.Module, values: Tensor) -> Tensor:
        result: Tensor = layer(values.to(dtype).to(values.dtype))
        return result.to(dtype).to(values.dtype)

    return change


def _tf32(layer: nn.Module, values: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(values)
    steps = float(2**_TF32_BITS)
    result: Tensor = layer(torch.ldexp((mantissa * steps).round() / steps, exponent))
    return result


def _eight_bits(layer: nn.Module, values: Tensor) -> Tensor:
    step = values.abs().amax() / 127
    result: Tensor = layer((values / step).round() * step)
    return result


def _shifted(layer: nn.Module, values: Tensor) -> Tensor:
    """Pad on the right and below alone, as other frameworks do."""
    result: Tensor = layer(functional.pad(values, (0, 1, 0, 1))[:, :, 1:, 1:])
    return result


def _batch_statistics(layer: nn.Module, values: Tensor) -> Tensor:
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return functional.batch_norm(values, None, None, weight, bias, training=True)


def _forget_statistics(layer: nn.Module) -> nn.Module:
    layer.get_buffer("running_mean").zero_()
    layer.get_buffer("running_var").fill_(1)
    return layer


def _sample_variance(layer: nn.Module) -> nn.Module:
    layer.get_buffer("running_var").mul_(64 / 63)
    return layer


def _unbiased(layer: nn.Module, values: Tensor) -> Tensor:
    deviation = (values.var(dim=-1, keepdim=True) + 1e-5).sqrt()
    normal = (values - values.mean(dim=-1, keepdim=True)) / deviation
    return normal * layer.get_parameter("weight") + layer.get_parameter("bias")


def _flatten_channels_last(module: nn.Module, context: Context) -> nn.Module | None:
    if not any(isinstance(part, nn.Conv2d) for part in module.modules()):
        return None
    return _function(nn.Flatten, lambda values: values.permute(0, 2, 3, 1).flatten(1))(module, context)


def _average(layer: nn.Module) -> nn.Module:
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]


def _greatest(layer: nn.Module) -> nn.Module:
    return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]


def _move_positions(module: nn.Module, context: Context) -> nn.Module | None:  # noqa: ARG001
    network = module.get_submodule("network")
    if not isinstance(network, Transformer):
        return None
    with torch.no_grad():
        network.positions.copy_(network.positions.roll(1, 1))
    return module


def _layer(kind: str, plant: Plant) -> ModuleFault:
    return ModuleFault(kind=kind, family="layer", plant=plant)


_PRODUCTS = (nn.Linear, nn.Conv2d)

LAYER_FAULTS: tuple[ModuleFault, ...] = (
    _layer("dropout left on", _replace(nn.Dropout, lambda d: Function(lambda x: functional.dropout(x, d.p, True)))),  # type: ignore[arg-type]
    _layer("dropout scales what it lets through", _replace(nn.Dropout, lambda d: Function(lambda x: x * (1 - d.p)))),  # type: ignore[operator]
    _layer("batch norm: epsilon 1e-3", _with(nn.BatchNorm2d, eps=1e-3)),
    _layer("batch norm: epsilon 1e-6", _with(nn.BatchNorm2d, eps=1e-6)),
    _layer("batch norm: statistics of the batch", _wrap(nn.BatchNorm2d, _batch_statistics, "all")),
    _layer("batch norm: statistics forgotten", _replace(nn.BatchNorm2d, _forget_statistics)),
    _layer("batch norm: variance of a sample", _replace(nn.BatchNorm2d, _sample_variance)),
    _layer("layer norm: epsilon 1e-3", _with(nn.LayerNorm, eps=1e-3)),
    _layer("layer norm: epsilon 1e-6", _with(nn.LayerNorm, eps=1e-6)),
    _layer("layer norm: epsilon 1e-12", _with(nn.LayerNorm, eps=1e-12)),
    _layer("layer norm: variance of a sample", _wrap(nn.LayerNorm, _unbiased, "all")),
    _layer("GELU by tanh", _with(nn.GELU, approximate="tanh")),
    _layer("SiLU for GELU", _function(nn.GELU, functional.silu)),
    _layer("GELU for SiLU", _function(nn.SiLU, functional.gelu)),
    _layer("hard swish for SiLU", _function(nn.SiLU, functional.hardswish)),
    _layer("hard tanh for tanh", _function(nn.Tanh, functional.hardtanh)),
    _layer("ReLU6 for ReLU", _function(nn.ReLU, functional.relu6)),
    _layer("leaky ReLU for ReLU", _function(nn.ReLU, functional.leaky_relu)),
    _layer("softplus for ReLU", _function(nn.ReLU, lambda x: functional.softplus(x, beta=50))),
    _layer("last ReLU left out", _function(nn.ReLU, lambda x: x, "last")),
    _layer("first values clipped at 1", _wrap(_PRODUCTS, lambda layer, x: layer(x).clamp(-1, 1), "first")),
    _layer("padding by the edge", _pad("replicate")),
    _layer("padding by reflection", _pad("reflect")),
    _layer("padding off by one", _wrap(nn.Conv2d, _shifted, "first")),
    _layer("average pooling leaves padding out", _with(nn.AvgPool2d, count_include_pad=False)),
    _layer("average for max pooling", _replace(nn.MaxPool2d, _average)),
    _layer("max for average pooling", _replace(nn.AvgPool2d, _greatest)),
    _layer("nearest for bilinear", _replace(nn.Upsample, lambda _: nn.Upsample(scale_factor=2, mode="nearest"))),
    _layer("bilinear with corners aligned", _with(nn.Upsample, align_corners=True)),
    _layer("flattened with channels last", _flatten_channels_last),
    _layer("float16 around the first layer", _wrap(_PRODUCTS, _through(torch.float16), "first")),
    _layer("float16 around the last layer", _wrap(_PRODUCTS, _through(torch.float16), "last")),
    _layer("bfloat16 around the first layer", _wrap(_PRODUCTS, _through(torch.bfloat16), "first")),
    _layer("bfloat16 around the last layer", _wrap(_PRODUCTS, _through(torch.bfloat16), "last")),
    _layer("TF32 in the last layer", _wrap(_PRODUCTS, _tf32, "last")),
    _layer("eight bits into the last layer", _wrap(_PRODUCTS, _eight_bits, "last")),
    _layer("attention not scaled", _with(Attention, scale=1.0)),
    _layer("attention's softmax over the queries", _with(Attention, axis=-2)),
    _layer("heads joined without bringing them back", _with(Attention, merge=False)),
    _layer("positions moved by one", _move_positions),
    _layer("last block left out", _replace(Block, lambda _: nn.Identity(), "last")),
    _layer("branch baked: never taken", _with(Branch, baked=False)),
    _layer("branch baked: always taken", _with(Branch, baked=True)),
    _layer("branch at another limit", _with(Branch, limit=8.0)),
)
