"""torch.compile: whether this machine has what it needs, and compiling without anything kept from before."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from export.first_line import first_line
from export.quiet import quiet

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def compiled(module: nn.Module) -> nn.Module:
    """Return a module that torch compiles on its first call, and once more for batches of another size."""
    return cast(nn.Module, torch.compile(module))


def compiler_fault() -> str | None:
    """Return why torch cannot compile for the CPU here, or None where it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        with quiet():
            get_cpp_compiler()
    except Exception as error:  # noqa: BLE001 - the class differs from version to version
        return first_line(error)
    return None


@contextmanager
def fresh_cache() -> Iterator[None]:
    """Let torch keep what it compiles in an empty folder that goes afterwards; processes started here share it."""
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[_CACHE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_CACHE]
            else:
                os.environ[_CACHE] = before
