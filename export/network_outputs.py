"""What a network returns, whatever it wraps it in, as tensors by name."""

from collections.abc import Mapping

from torch import Tensor

from export.errors import ExportError

_ROWS_ONLY = 1


def flatten_outputs(results: object) -> dict[str, Tensor]:
    """Return a network's outputs in order.

    Args:
        results: A tensor, a tuple or list of them, a named tuple, or a dictionary; None in it is passed over.

    Returns:
        Tensors by name: the dictionary's keys, the named tuple's fields, else ``output_0``, ``output_1`` and so on.

    Raises:
        ExportError: it is something else, or deeper.
    """
    named: dict[str, object]
    if isinstance(results, Tensor):
        named = {"output_0": results}
    elif isinstance(results, Mapping):
        named = {str(key): value for key, value in results.items()}
    elif isinstance(results, (tuple, list)):
        names = getattr(results, "_fields", None) or [f"output_{index}" for index in range(len(results))]
        named = dict(zip(names, results, strict=True))
    else:
        raise ExportError(
            f"forward returns a {type(results).__name__}, but a tensor, a tuple of tensors or a dictionary of tensors "
            "was expected; put a small module around the network that returns one"
        )
    found = {name: value for name, value in named.items() if value is not None}
    outputs = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    strange = [name for name in found if name not in outputs]
    if strange:
        raise ExportError(
            f"output {strange[0]} of forward is a {type(found[strange[0]]).__name__}, but a tensor was expected; put a "
            "small module around the network that returns tensors alone"
        )
    if not outputs:
        raise ExportError("forward returns no tensor, but at least one was expected")
    return outputs


def only_output(results: object) -> Tensor:
    """Return the one output of a network, ``(batch, values)``, also where it gives one value per row as ``(batch,)``.

    Raises:
        ExportError: there are several.
    """
    outputs = flatten_outputs(results)
    if len(outputs) > 1:
        raise ExportError(f"forward returns {', '.join(outputs)}, but one output was expected")
    (output,) = outputs.values()
    return output.unsqueeze(1) if output.ndim == _ROWS_ONLY else output
