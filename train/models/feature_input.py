"""The first layer of every tabular model: from a table's raw numbers to what a network takes."""

import torch
from torch import Tensor, nn

from serve.bundle import Feature


class FeatureInput(nn.Module):
    """Fill in missing numbers, standardise them, and spread categories over one column each.

    Args:
        features: The columns, in order.
        mean: Per column; stands for a missing number. Not used for categories.
        std: Per column, above 0. Not used for categories.

    Shape:
        ``(batch, features)`` float32 in: numbers, category indices, NaN where a value is missing. Out: ``(batch,
        columns)`` in the dtype of the buffers, where an optional category has a column more, for missing.
    """

    def __init__(self, features: tuple[Feature, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if not len(features) == len(mean) == len(std):
            raise ValueError(
                f"there are {len(features)} features, {len(mean)} means and {len(std)} standard deviations, but one of "
                "each per feature was expected"
            )
        if not all(value > 0 for value in std):
            raise ValueError(f"std is {std}, but every value must be above 0")
        numbers = [index for index, feature in enumerate(features) if not feature.categories]
        self.plain = len(numbers) == len(features) and not any(feature.optional for feature in features)
        self.identity = self.plain and not any(mean) and all(value == 1 for value in std)
        self.has_numbers = bool(numbers)
        self.categorical = tuple(
            (index, len(feature.categories), feature.optional)
            for index, feature in enumerate(features)
            if feature.categories
        )
        self.mean: Tensor
        self.std: Tensor
        self.numbers: Tensor
        self.register_buffer("mean", torch.tensor([mean[i] for i in numbers], dtype=torch.float32))
        self.register_buffer("std", torch.tensor([std[i] for i in numbers], dtype=torch.float32))
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """Convert one batch."""
        table = features.to(self.mean.dtype)
        if self.identity:
            return table
        if self.plain:
            return (table - self.mean) / self.std
        columns = []
        if self.has_numbers:
            numbers = table.index_select(1, self.numbers)
            columns.append((torch.where(torch.isnan(numbers), self.mean, numbers) - self.mean) / self.std)
        for index, count, optional in self.categorical:
            column = table[:, index : index + 1]
            columns.append((column == torch.arange(count, device=column.device)).to(table.dtype))
            if optional:
                columns.append(torch.isnan(column).to(table.dtype))
        return torch.cat(columns, dim=1)
