"""What is said when memory runs out: for what, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from train.errors import TrainingError

# torch has a class for accelerators only; Source: c10/core/impl/alloc_cpu.cpp
_CPU_ALLOCATOR = "DefaultCPUAllocator"


@contextmanager
def memory_for(device: torch.device, what: str, remedy: str) -> Iterator[None]:
    """Say in one sentence for what there is no memory.

    Args:
        device: Whose memory.
        what: What it is needed for, such as "batch_size 32".
        remedy: What to do, as an imperative.

    Raises:
        TrainingError: memory ran out within the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _CPU_ALLOCATOR in str(error)
        if not full:
            raise
        reason = (str(error).splitlines() or ["it is full"])[0]
        raise TrainingError(f"{device} has no memory for {what} ({reason}); {remedy}") from error
