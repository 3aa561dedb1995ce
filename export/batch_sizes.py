"""What a torch graph returns at batch sizes that it was not written with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from export.equality import close
from export.errors import ExportError
from export.first_line import last_line
from serve.bundle import TensorSpec


def check_batch_sizes(
    graph: Callable[..., tuple[Tensor, ...]],
    examples: tuple[Tensor, ...],
    *,
    outputs: tuple[TensorSpec, ...],
    subject: str,
    made: str,
    module: nn.Module | None = None,
) -> None:
    """Check shapes and dtypes of what a graph returns for one row, and for one row more than it was written with.

    Args:
        graph: As it was read from the file.
        examples: The batch of each input that it was written with.
        outputs: Names, dtypes and shapes of what it must return, in order.
        subject: What messages call it, ``the TorchScript graph``.
        made: How it came to be: ``traced``.
        module: What it was made from, where its values are to be held against it, too: where forward computes with
            sizes, they may stand in the graph as constants.

    Raises:
        ExportError: they differ from what was asked.
    """
    written = len(examples[0])
    for rows in (1, written + 1):
        batch = [torch.cat([example, example])[:rows] for example in examples]
        try:
            with torch.inference_mode():
                results = graph(*batch)
        except Exception as error:  # what torch's interpreters raise, and forward in a captured program
            raise ExportError(
                f"{subject} was {made} at batch {written} and fails at batch {rows} "
                f"({last_line(error)}); look for int(x.shape[0]) or len(x) in forward"
            ) from error
        found = [(str(result.dtype).removeprefix("torch."), list(result.shape)) for result in results]
        expected = [(spec.dtype, [rows, *spec.shape[1:]]) for spec in outputs]
        if found != expected:
            raise ExportError(
                f"{subject} returns {found} at batch {rows}, but {expected} were expected; "
                "check what forward returns, and look for int(x.shape[0]) or len(x) in it"
            )
        if module is not None:
            with torch.inference_mode():
                own = module(*batch)
            if not all(map(close, results, own)):
                raise ExportError(
                    f"{subject} was {made} at batch {written} and gives other values than forward at batch {rows}; "
                    "look for int(x.shape[0]), len(x) or a branch on them in forward"
                )
