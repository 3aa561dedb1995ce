"""The order in which each epoch takes the rows: the one that the source notes' two DataLoaders give."""

import torch
from torch import Tensor


class RowOrder:
    """Draws one order per epoch, as the two loaders do after ``manual_seed(seed)``.

    Drawn on the CPU, so that it is the same on every device, and from a generator of its own.

    Args:
        rows: How many there are.
        seed: Where the generator starts; None goes on from where the global one stands, as the loaders do where nobody
            seeds again.

    Source: torch 2.15, torch/utils/data: `_BaseDataLoaderIter` draws a base seed, for the training and for the test
    loader alike; `RandomSampler` draws the seed of the generator that permutes.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self.rows = rows
        self.generator = torch.Generator()
        if seed is None:
            self.generator.set_state(torch.get_rng_state())
        else:
            self.generator.manual_seed(seed)

    def draw(self) -> Tensor:
        """Return the next epoch's order, ``(rows,)``."""
        self._seed()  # the training loader's base seed
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self._seed()))
        self._seed()  # the test loader's base seed
        return order

    def _seed(self) -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=self.generator).item())
