"""Which of the things in a checkpoint are the weights; where several may be, the user says which."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from torch import Tensor

from export.errors import ExportError
from train.wording import some_names

WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts keep the weights in a checkpoint
SAVE_WEIGHTS = "save the weights alone with torch.save(model.state_dict(), 'weights.pt')"
_SHOWN_KEYS = 3


def choose_weights(content: object, path: Path, key: str | None) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Find the weights in what a file holds.

    Args:
        content: Tensors by name, or a dictionary with such.
        path: The file, for messages.
        key: The name that the weights stand under, where the user gives one.

    Returns:
        The weights, and sentences for people.

    Raises:
        ExportError: there are none, none of that name, or several sets that could be the network's.
    """
    if _is_weights(content):
        if key is not None:
            raise ExportError(
                f"--weights-key is {key!r}, but --weights {path} holds one set of weights, under no name; leave "
                "--weights-key out"
            )
        return content, ()
    items = content.items() if isinstance(content, Mapping) else ()
    sets = {str(name): value for name, value in items if _is_weights(value)}
    if not sets:
        raise _without_weights(content, path)
    if key is not None and key not in sets:
        raise ExportError(
            f"--weights-key is {key!r}, but --weights {path} holds weights under {some_names([*sets])}; give one of "
            "them"
        )
    chosen = key or next((name for name in WRAPPERS if name in sets), next(iter(sets)))
    known = chosen in WRAPPERS
    others = [name for name in sets if name != chosen and (not known or _like(sets[name], sets[chosen]))]
    if others and key is None:
        raise ExportError(
            f"--weights {path} holds several sets of weights, under {some_names([chosen, *others])}, but a network has "
            f"one; say which with --weights-key, such as --weights-key {chosen}"
        )
    left = f", those under {some_names(others)} are left out" if others else ""
    return sets[chosen], (f"the weights stand under {chosen!r} in {path.name}{left}",)


def _is_weights(content: object) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(content, Mapping) and bool(content) and all(isinstance(item, Tensor) for item in content.values())


def _like(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether two sets could be of one network: one may be averages of the other, with or without buffers."""
    shapes, others = (Counter(tuple(tensor.shape) for tensor in tensors.values()) for tensors in (one, other))
    return (shapes & others).total() * 2 >= max(shapes.total(), others.total())


def _without_weights(content: object, path: Path) -> ExportError:
    found = "no weights" if content else "nothing"
    if isinstance(content, Mapping) and content:
        found = f"a dictionary of {some_names([str(name) for name in content], most=_SHOWN_KEYS)}"
    return ExportError(
        f"--weights {path} holds {found}, but tensors by name, alone or under {', '.join(WRAPPERS)}, were expected; "
        f"{SAVE_WEIGHTS}"
    )
