"""What every mode that watches operators derives from."""

import sys
from typing import ClassVar, Self

from torch._compile import _disable_dynamo
from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that does not import torch's compiler, which takes a second, to keep it out of operators (torch 2.15).

    Few networks need it: those that are compiled, or run `torch.cond`. Where it was imported before, it is kept out as
    torch keeps it out of any mode. Imported while a mode is entered, it would compile the mode; so whoever enters one
    lets the network run without it first.
    """

    _kept_out: ClassVar[set[type]] = set()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> Self:
        kind = type(self)
        if "torch._dynamo" in sys.modules and kind not in self._kept_out:
            kind.__torch_dispatch__ = _disable_dynamo(kind.__torch_dispatch__)  # type: ignore[method-assign]
            self._kept_out.add(kind)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self
