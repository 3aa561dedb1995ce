"""What a model's outputs mean for a person: a label and its probability, or predicted values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from serve.answer import RequestError
from serve.bundle import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One row's outcome.

    Attributes:
        label: The most probable label, or None for a regression.
        probability: Its probability, in [0, 1], or None for a regression.
        values: Probability by label, or predicted value by target, in the model's order.
    """

    label: str | None
    probability: float | None
    values: dict[str, float]


def read_verdicts(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> list[Verdict]:
    """Return one verdict per row.

    Args:
        manifest: The model's; its task says which output counts.
        outputs: Arrays by output name, ``(rows, …)``.

    Raises:
        RequestError: its outputs are tensors that nobody said the meaning of.
    """
    require_verdicts(manifest)
    if manifest.task == "regression":
        return [
            Verdict(label=None, probability=None, values=_by_name(manifest.labels, row))
            for row in outputs["prediction"].tolist()
        ]
    rows = outputs["probabilities"].tolist()
    if manifest.task == "binary-classification":
        rows = [[1 - positive, positive] for (positive,) in rows]
    verdicts = []
    for row in rows:
        values = _by_name(manifest.labels, row)
        # the last of equals where there are two classes: a probability of 0.5 counts as the positive one
        ranked = reversed(values) if manifest.task == "binary-classification" else values
        label = max(ranked, key=values.__getitem__)
        verdicts.append(Verdict(label=label, probability=values[label], values=values))
    return verdicts


def require_verdicts(manifest: Manifest) -> None:
    """Refuse a model whose outputs are tensors that nobody said the meaning of.

    Raises:
        RequestError: it is one.
    """
    if manifest.task == "tensors":
        raise RequestError(tensors_sentence(manifest))


def tensors_sentence(manifest: Manifest) -> str:
    """Say why a model of tensors gives no verdict, and what it gives instead."""
    names = ", ".join(spec.name for spec in manifest.outputs)
    return (
        f"model {manifest.name} gives tensors ({names}) and no labels or values with names; "
        f"send its inputs to /v2/models/{manifest.name}/infer"
    )


def _by_name(labels: tuple[str, ...], values: list[float]) -> dict[str, float]:
    if len(labels) != len(values):
        return {str(index): value for index, value in enumerate(values)}
    if len(set(labels)) != len(labels):  # ImageNet has two cranes: none may hide the other
        labels = tuple(f"{label} ({i})" if labels.count(label) > 1 else label for i, label in enumerate(labels))
    return dict(zip(labels, values, strict=True))
