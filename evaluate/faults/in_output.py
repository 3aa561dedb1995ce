"""Faults of what comes out, and of what one row does to another: activations, order of classes, frozen batches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluate.faults.fault import Context, Family, ModuleFault, Plant

Outputs = tuple[Tensor, ...]
_TINY = 1.17549435e-38
_BEYOND = 8


class After(nn.Module):
    """Spoils what the right module returns."""

    def __init__(self, right: nn.Module, change: Callable[[Outputs], Outputs]) -> None:
        super().__init__()
        self.right = right
        self.change = change

    def forward(self, inputs: Tensor) -> Outputs:
        """Run one batch."""
        return self.change(self.right(inputs))


def _first(change: Callable[[Tensor, Context], Tensor]) -> Plant:
    """Spoil logits before probabilities are made of them, or the prediction."""

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        task = context.subject.task

        def spoil(outputs: Outputs) -> Outputs:
            first = change(outputs[0], context)
            if task == "regression":
                return (first,)
            wide = torch.cat([torch.zeros_like(first), first], dim=1) if task == "binary-classification" else first
            return first, torch.softmax(wide, dim=1)[:, -first.shape[1] :]

        return After(module, spoil)

    return plant


def _probabilities(change: Callable[[Tensor, Tensor], Tensor], *, classes: bool = False) -> Plant:
    """Spoil the probabilities alone; with `classes`, only where there are several of them."""

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        task = context.subject.task
        if task == "regression" or (classes and task != "classification"):
            return None
        return After(module, lambda outputs: (outputs[0], change(outputs[0], outputs[1])))

    return plant


def _several(change: Callable[[Tensor, Context], Tensor], *, targets: bool = True) -> Plant:
    """Spoil logits where there are several of them; with `targets`, several predictions, too."""
    spoil = _first(change)

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        (width,) = (spec.shape[-1] for spec in context.subject.outputs[:1])
        regression = context.subject.task == "regression"
        return None if width == 1 or (regression and not targets) else spoil(module, context)

    return plant


def _swap(module: nn.Module, context: Context) -> nn.Module | None:
    if context.subject.task == "regression":
        return None
    return After(module, lambda outputs: (outputs[1], outputs[0]))


def _exchange(outputs: Tensor, _: Context) -> Tensor:
    return outputs[:, [1, 0, *range(2, outputs.shape[1])]]


def _overflow(logits: Tensor, _: Tensor) -> Tensor:
    """Compute softmax without taking the greatest logit away first."""
    exponentials = torch.exp(logits)
    return exponentials / exponentials.sum(dim=1, keepdim=True)


def _beyond(outputs: Tensor, context: Context) -> Tensor:
    return torch.where(outputs.abs() > context.largest, torch.full_like(outputs, float("inf")), outputs)


def _lose_rows(outputs: Tensor, _: Context) -> Tensor:
    return torch.cat([outputs[:_BEYOND], outputs[_BEYOND:] * 0], dim=0)


def _fault(kind: str, plant: Plant, family: Family = "output") -> ModuleFault:
    return ModuleFault(kind=kind, family=family, plant=plant)


OUTPUT_FAULTS: tuple[ModuleFault, ...] = (
    _fault("outputs exchanged", _swap),
    _fault("two classes exchanged", _several(_exchange)),
    _fault("classes moved by one", _several(lambda outputs, _: outputs.roll(1, 1))),
    _fault("sign of the logits turned", _first(lambda outputs, _: -outputs)),
    _fault("logits after log-softmax", _several(lambda outputs, _: torch.log_softmax(outputs, dim=1), targets=False)),
    _fault("logits x 1.001", _first(lambda outputs, _: outputs * 1.001)),
    _fault("logits rounded to four decimals", _first(lambda outputs, _: (outputs * 1e4).round() / 1e4)),
    _fault("logits through float16", _first(lambda outputs, _: outputs.to(torch.float16).to(outputs.dtype))),
    _fault("logits through bfloat16", _first(lambda outputs, _: outputs.to(torch.bfloat16).to(outputs.dtype))),
    _fault("logits clipped at 10", _first(lambda outputs, _: outputs.clamp(-10, 10))),
    _fault("infinite beyond what samples gave", _first(_beyond)),
    _fault("softmax twice", _probabilities(lambda _, p: torch.softmax(p, dim=1), classes=True)),
    _fault("softmax left out", _probabilities(lambda logits, _: logits)),
    _fault("softmax over the batch", _probabilities(lambda logits, _: torch.softmax(logits, dim=0))),
    _fault("sigmoid for softmax", _probabilities(lambda logits, _: torch.sigmoid(logits), classes=True)),
    _fault("softmax that overflows", _probabilities(_overflow, classes=True)),
    _fault("probabilities clipped at 1e-6", _probabilities(lambda _, p: p.clamp(1e-6, 1 - 1e-6))),
    _fault("denormals flushed to 0", _probabilities(lambda _, p: torch.where(p < _TINY, torch.zeros_like(p), p))),
    _fault("1e-3 of the batch's mean mixed in", _first(lambda x, _: x + 1e-3 * x.mean(dim=0)), "batch"),
    _fault("rows of a batch in reverse", _first(lambda outputs, _: outputs.flip(0)), "batch"),
    _fault("each row takes the one before it", _first(lambda outputs, _: outputs.roll(1, 0)), "batch"),
    _fault("rows beyond the eighth lost", _first(_lose_rows), "batch"),
    _fault("batch frozen at 2", _first(lambda outputs, _: outputs.reshape(2, outputs.shape[1])), "batch"),
    _fault("first row for all", _first(lambda x, _: x[:1].expand(x.shape[0], -1) + 0 * x), "batch"),
)
