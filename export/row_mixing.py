"""Whether a row's answer depends on the rows beside it."""

from functools import partial

import torch
from torch import Tensor, nn

from export.deployable import to_float64
from export.equality import equal
from export.errors import ExportError
from export.first_difference import first_difference
from export.first_line import first_line
from export.held_tensors import part_name
from export.observe import Outputs

ROWS = 2  # a row, and a neighbour
_HOSTILE = 50.0  # times as large as the row that is judged
# of two float64 sums in another order, far below what float32 shows; rows that mix differ by far more
_SAME = 1e-9
_SAME_FLOAT32 = 1e-5  # where an operator has no float64


def mixing_part(module: nn.Module, inputs: Outputs) -> str | None:
    """Name the part that mixes rows: each row alone, and between hostile ones, is judged in float64."""
    if len(inputs[0]) < ROWS:
        return None
    wide = to_float64(module)
    for row in range(ROWS):
        alone = tuple(tensor[row : row + 1].clone() for tensor in inputs)
        company = [_hostile(tensor[1 - row : 2 - row]) for tensor in inputs]
        # before and behind: what sums along the batch, or runs along it as a sequence, mixes in one direction only
        among = tuple(torch.cat([other, own, other]) for own, other in zip(alone, company, strict=True))
        try:
            with torch.no_grad():
                for given in (alone, among):  # before the reference, which may leave something behind
                    module(*(tensor.clone() for tensor in given))
                pairs = list(zip(wide(*alone), wide(*among), strict=True))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = first_line(error)
            raise ExportError(
                f"{part_name(module, '')} fails in float64, or at batch size 1, where its graphs are judged "
                f"({reason}); take dtypes from its inputs, and write forward for any number of rows"
            ) from error
        same = partial(_same_row, tolerance=_SAME_FLOAT32 if wide.float32_operators else _SAME)
        if not all(same(one, many) for one, many in pairs):
            return part_name(wide, first_difference(wide, alone, among, same=same))
    return None


def _hostile(rows: Tensor) -> Tensor:
    if rows.dtype == torch.uint8:
        return 255 - rows
    return rows * _HOSTILE if rows.is_floating_point() else rows.clone()


def _same_row(alone: Tensor, among: Tensor, *, tolerance: float) -> bool:
    """Return whether the middle of three rows is the same as it is alone; tensors without rows tell nothing."""
    if not alone.ndim or len(among) != 3 * len(alone):
        return True
    row = among[len(alone) : 2 * len(alone)]
    if not alone.is_floating_point():
        return equal(alone, row)
    scale = max(1.0, float(alone.abs().nan_to_num(posinf=0.0).max())) if alone.numel() else 1.0
    return torch.allclose(alone, row, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
