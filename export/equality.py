"""When two tensors are the same, bit by bit or but for rounding."""

from collections.abc import Callable

import torch
from torch import Tensor

# of float32 sums in another order; what chance, memory or a wrong branch changes is larger
_CLOSE = 1e-3


def equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same values; NaN is NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def close(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors differ by no more than another order of summation makes them."""
    if not one.is_floating_point() or one.shape != other.shape or one.dtype != other.dtype or not one.numel():
        return equal(one, other)
    scale = float(one.abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(one, other, rtol=0.0, atol=_CLOSE * scale, equal_nan=True)


def all_equal(
    one: tuple[Tensor, ...], other: tuple[Tensor, ...], *, same: Callable[[Tensor, Tensor], bool] = equal
) -> bool:
    """Return whether two rows of tensors are as long, and the same one by one."""
    return len(one) == len(other) and all(map(same, one, other))
