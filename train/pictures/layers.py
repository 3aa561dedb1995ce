"""What a network is made of: layers, shapes, parameters, multiply-adds and memory."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from train.pictures.layout import row_lines

HEADER = ("layer", "type", "input", "output", "parameters", "mult-adds")
_CHANNELS_FIRST = ("Conv", "BatchNorm", "InstanceNorm")  # their weights are used once per place, not per row


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One call of a module; a module that is called twice has two.

    Attributes:
        name: Its path in the network; empty for the network itself.
        depth: How many modules it lies in.
        type: Its class.
        input_shape: Of the first tensor in.
        output_shape: Of the first tensor out.
        parameters: Numbers that are its own and that no earlier layer had.
        mult_adds: Multiplications with an addition of this call.
        held: Numbers that training holds of its output: that of layers with parameters.
    """

    name: str
    depth: int
    type: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    mult_adds: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Layers in the order of their calls, and totals; sizes in megabytes of 1,000,000 bytes.

    Attributes:
        layers: The network itself first.
        parameters: Each counted once, also those that are shared or never used.
        trainable: Those of them that training changes.
        mult_adds: Of one pass; a layer that is called twice works twice.
        input_mb: The input's.
        activations_mb: Outputs of layers with parameters, with their gradients: forward and backward.
        parameters_mb: The parameters'.
    """

    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    mult_adds: int
    input_mb: float
    activations_mb: float
    parameters_mb: float

    @property
    def total_mb(self) -> float:
        """Return the sum of the three sizes."""
        return self.input_mb + self.activations_mb + self.parameters_mb


def summarise_layers(network: nn.Module, inputs: Tensor) -> Summary:
    """Run a network once and note what each module was given and gave.

    Counts as torchinfo does: a convolution uses its parameters, bias included, once per place of its output.

    Args:
        network: It is run in evaluation mode and left in the mode in which it was.
        inputs: One batch as the network takes it.
    """
    layers: list[Layer] = []
    pending: list[int] = []
    counted: set[int] = set()
    names = {id(module): name for name, module in network.named_modules()}

    def begin(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        pending.append(len(layers))
        name = names[id(module)]
        shape = tuple(_first_tensor(arguments).shape)
        layers.append(Layer(name=name, depth=len(pending) - 1, type=type(module).__name__, input_shape=shape))

    def end(module: nn.Module, _: tuple[Any, ...], outputs: Any) -> None:  # noqa: ANN401 - whatever a module returns
        place = pending.pop()
        output = _first_tensor(outputs)
        own = list(module.parameters(recurse=False))
        fresh = [parameter for parameter in own if id(parameter) not in counted]
        counted.update(map(id, fresh))
        layers[place] = replace(
            layers[place],
            output_shape=tuple(output.shape),
            parameters=sum(parameter.numel() for parameter in fresh),
            mult_adds=sum(parameter.numel() for parameter in own) * _uses(layers[place].type, tuple(output.shape)),
            held=output.numel() if own else 0,
        )

    hooks = [
        hook
        for module in network.modules()
        for hook in (module.register_forward_pre_hook(begin), module.register_forward_hook(end))
    ]
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            network(inputs)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    parameters = list(network.parameters())
    megabyte = 1_000_000
    return Summary(
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        mult_adds=sum(layer.mult_adds for layer in layers),
        input_mb=inputs.numel() * inputs.element_size() / megabyte,
        activations_mb=2 * sum(layer.held for layer in layers) * inputs.element_size() / megabyte,
        parameters_mb=sum(parameter.numel() * parameter.element_size() for parameter in parameters) / megabyte,
    )


def layer_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Return the cells of each layer, in the order of ``HEADER``; parameters that an earlier layer has are shared."""
    rows: list[tuple[str, ...]] = []
    for layer in summary.layers:
        shared = layer.mult_adds and not layer.parameters
        rows.append(
            (
                "  " * layer.depth + (layer.name.rpartition(".")[2] or "network"),
                layer.type,
                _shape(layer.input_shape),
                _shape(layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "shared" if shared else "-",
                f"{layer.mult_adds:,}" if layer.mult_adds else "-",
            )
        )
    return rows


def say_totals(summary: Summary) -> str:
    """Say the totals in three lines."""
    return "\n".join(
        (
            f"parameters {summary.parameters:,}, of which {summary.trainable:,} are trained",
            f"mult-adds {_round(summary.mult_adds)}",
            f"size: input {_size(summary.input_mb)}, forward and backward {_size(summary.activations_mb)}, "
            f"parameters {_size(summary.parameters_mb)}, total {_size(summary.total_mb)}",
        )
    )


def say_layers(summary: Summary) -> str:
    """Return the table and the totals as text."""
    return "\n".join([*row_lines([HEADER, *layer_rows(summary)], left=2), "", say_totals(summary)])


def _uses(kind: str, output: tuple[int, ...]) -> int:
    """Return how often each weight of a layer is used, from the shape of its output."""
    sizes = output if len(output) < 2 else (output[0], *output[2:]) if kind.startswith(_CHANNELS_FIRST) else output[:-1]
    uses = 1
    for size in sizes:
        uses *= size
    return uses


def _first_tensor(values: Any) -> Tensor:  # noqa: ANN401 - whatever a module takes or returns
    while not isinstance(values, Tensor):
        values = next(iter(values.values() if isinstance(values, dict) else values))
    return values


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _size(megabytes: float) -> str:
    return f"{megabytes:.2f} MB" if megabytes >= 0.01 else f"{megabytes * 1000:.2f} kB"


def _round(count: int) -> str:
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)
