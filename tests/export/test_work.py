"""The count of a network's operations."""

import pytest
import torch
from torch import Tensor, nn

from export.work import flops_per_row


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(d_model=8, nhead=2, dim_feedforward=16, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one layer of attention."""
        encoded: Tensor = self.layer(inputs)
        return encoded


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Linear(4, 2)
        self.large = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Run one of two branches."""
        chosen: Tensor = torch.cond(inputs.sum() > 0, self.small, self.large, (inputs,))
        return chosen


class _Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Take a step three times."""
        start = (torch.tensor(0), inputs)
        _, state = torch.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, self.step(x)), start)
        last: Tensor = self.last(state)
        return last


def _attention(steps: int, width: int, inner: int) -> int:
    projections = 4 * width * width + 2 * width * inner
    return 2 * steps * projections + 2 * 2 * steps * steps * width


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        pytest.param(nn.Linear(5, 7), (5,), 2 * 5 * 7, id="linear"),
        pytest.param(nn.Conv2d(3, 4, 3), (3, 8, 8), 2 * 4 * 6 * 6 * 3 * 9, id="convolution"),
        pytest.param(nn.ReLU(), (5,), 0, id="no product"),
        pytest.param(nn.LSTM(6, 8, batch_first=True), (10, 6), 2 * 10 * 4 * 8 * (6 + 8), id="lstm"),
        pytest.param(nn.GRU(6, 8, batch_first=True), (10, 6), 2 * 10 * 3 * 8 * (6 + 8), id="gru"),
        pytest.param(_Encoder(), (5, 8), _attention(5, 8, 16), id="attention, whose fast path counts nothing"),
        pytest.param(_Branches(), (4,), 2 * (4 * 8 + 8 * 2), id="the costlier of two branches"),
        pytest.param(_Loop(), (4,), 2 * 4 * 2, id="a loop, whose steps nobody knows"),
    ],
)
def test_operations_are_counted_for_each_row_whatever_the_batch(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    module.eval()
    assert [flops_per_row(module, (torch.rand(rows, *shape),)) for rows in (1, 2, 3)] == [expected] * 3


def test_counting_leaves_everything_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(5, 7), nn.Dropout())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    flops_per_row(module, (torch.rand(1, 5, generator=torch.Generator().manual_seed(0)),))
    assert torch.equal(torch.rand(4), expected)
    assert torch.backends.mha.get_fastpath_enabled()
