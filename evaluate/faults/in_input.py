"""Faults between what the user sends and what the network sees: normalisation, layout, missing values."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluate.faults.fault import Context, ModuleFault, Plant
from train.models.feature_input import FeatureInput

ImageChange = Callable[[Tensor, Tensor, Tensor], Tensor]
_COLOURS = 3


class WrongImageInput(nn.Module):
    """Stands where `train.models.image_input.ImageInput` should, and does something else.

    Args:
        change: Takes pixels 0 to 255, ``(batch, channels, height, width)``, mean and std, and returns what goes in.
        mean: Per channel.
        std: Per channel.
    """

    def __init__(self, change: ImageChange, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.change = change
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Convert one batch."""
        return self.change(image.permute(0, 3, 1, 2).to(self.mean.dtype), self.mean, self.std)


class Before(nn.Module):
    """Spoils rows of a table before the right input module takes them."""

    def __init__(self, change: Callable[[Tensor], Tensor], right: nn.Module) -> None:
        super().__init__()
        self.change = change
        self.right = right

    def forward(self, features: Tensor) -> Tensor:
        """Convert one batch."""
        converted: Tensor = self.right(self.change(features))
        return converted


def _image(change: ImageChange, *, colours: bool = False, normalised: bool = False) -> Plant:
    """Plant in image models; in those alone that have three channels, or whose mean and std are not 0 and 1."""

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        subject = context.subject
        if subject.preprocessing is None or (colours and len(subject.mean) < _COLOURS):
            return None
        if normalised and not any(subject.mean):
            return None
        module.input_module = WrongImageInput(change, subject.mean, subject.std)
        return module

    return plant


def _right(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (pixels / 255 - mean) / std


def _first(like: Tensor, value: float) -> Tensor:
    """Return a tensor that holds a value in the first channel, and 0 in the others."""
    return torch.cat([torch.full_like(like[:, :1], value), torch.zeros_like(like[:, 1:])], dim=1)


def _unlike(pixels: Tensor) -> Tensor:
    """Read memory of ``(height, width, channels)`` as if it were ``(channels, height, width)``."""
    return pixels.permute(0, 2, 3, 1).contiguous().view(-1, pixels.shape[1], pixels.shape[2], pixels.shape[3])


def _table(change: Callable[[Tensor, FeatureInput, Context], Tensor], needs: str) -> Plant:
    """Plant in models of tables, where they have what is needed."""

    def plant(module: nn.Module, context: Context) -> nn.Module | None:
        features, right = context.subject.features, module.input_module
        if not features or not isinstance(right, FeatureInput):
            return None
        has = {
            "anything": True,
            "two numbers": len(right.numbers) > 1,
            "missing numbers": any(feature.optional and not feature.categories for feature in features),
            "categories": bool(right.categorical) and len(features[right.categorical[0][0]].categories) > 1,
            "missing categories": any(optional for _, _, optional in right.categorical),
        }
        if not has[needs]:
            return None
        module.input_module = Before(lambda rows: change(rows, right, context), right)
        return module

    return plant


def _statistics(change: Callable[[FeatureInput], None]) -> Plant:
    def plant(module: nn.Module, context: Context) -> nn.Module | None:  # noqa: ARG001
        right = module.input_module
        if not isinstance(right, FeatureInput) or right.identity or not right.has_numbers:
            return None
        change(right)
        return module

    return plant


def _shift_mean(right: FeatureInput) -> None:
    right.mean[0] += 0.01 * right.std[0]


def _widen_std(right: FeatureInput) -> None:
    right.std[0] *= 1.01


def _drop_statistics(right: FeatureInput) -> None:
    right.mean.zero_()
    right.std.fill_(1)


def _zero_for_missing(rows: Tensor, right: FeatureInput, _: Context) -> Tensor:
    numbers = torch.zeros(rows.shape[1], dtype=torch.bool)
    numbers[right.numbers] = True
    return torch.where(torch.isnan(rows) & numbers, torch.zeros_like(rows), rows)


def _next_category(rows: Tensor, right: FeatureInput, _: Context) -> Tensor:
    index, count, _optional = right.categorical[0]
    return torch.cat([rows[:, :index], (rows[:, index : index + 1] + 1) % count, rows[:, index + 1 :]], dim=1)


def _first_for_missing_category(rows: Tensor, right: FeatureInput, _: Context) -> Tensor:
    index = next(index for index, _, optional in right.categorical if optional)
    column = torch.nan_to_num(rows[:, index : index + 1], nan=0.0)
    return torch.cat([rows[:, :index], column, rows[:, index + 1 :]], dim=1)


def _exchange_columns(rows: Tensor, right: FeatureInput, _: Context) -> Tensor:
    order = list(range(rows.shape[1]))
    first, second = (int(index) for index in right.numbers[:2])
    order[first], order[second] = order[second], order[first]
    return rows[:, order]


def _input(kind: str, plant: Plant) -> ModuleFault:
    return ModuleFault(kind=kind, family="input", plant=plant)


INPUT_FAULTS: tuple[ModuleFault, ...] = (
    _input("mean 0.01 off in one channel", _image(lambda x, m, s: _right(x, m + _first(m, 0.01), s))),
    _input("std 1 % off in one channel", _image(lambda x, m, s: _right(x, m, s * (1 + _first(s, 0.01))))),
    _input("mean left out", _image(lambda x, _, s: x / 255 / s, normalised=True)),
    _input("std left out", _image(lambda x, m, _: x / 255 - m, normalised=True)),
    _input("mean and std exchanged", _image(lambda x, m, s: _right(x, s, m), normalised=True)),
    _input("mean and std of 0.5", _image(lambda x, m, s: _right(x, m * 0 + 0.5, s * 0 + 0.5))),
    _input("mean in the order of BGR", _image(lambda x, m, s: _right(x, m.flip(1), s), colours=True)),
    _input("std in the order of BGR", _image(lambda x, m, s: _right(x, m, s.flip(1)), colours=True)),
    _input("BGR for RGB", _image(lambda x, m, s: _right(x.flip(1), m, s), colours=True)),
    _input("/255 twice", _image(lambda x, m, s: _right(x / 255, m, s))),
    _input("/255 left out", _image(lambda x, m, s: _right(x * 255, m, s))),
    _input("/256 for /255", _image(lambda x, m, s: _right(x * (255 / 256), m, s))),
    _input("/255 after the mean", _image(lambda x, m, s: (x - m) / s / 255, normalised=True)),
    _input("x 0.0039 for /255", _image(lambda x, m, s: (x * 0.0039 - m) / s)),
    _input("height and width exchanged", _image(lambda x, m, s: _right(x.transpose(2, 3), m, s))),
    _input("channels last read as channels first", _image(lambda x, m, s: _right(_unlike(x), m, s), colours=True)),
    _input("upside down", _image(lambda x, m, s: _right(x.flip(2), m, s))),
    _input("turned by 90 degrees, as without EXIF", _image(lambda x, m, s: _right(x.rot90(1, [2, 3]), m, s))),
    _input("bytes read as signed", _image(lambda x, m, s: _right(torch.where(x > 127, x - 256, x), m, s))),
    _input("moved by one pixel", _image(lambda x, m, s: _right(x.roll(1, 3), m, s))),
    _input("pixels through float16", _image(lambda x, m, s: _right(x, m, s).to(torch.float16).to(x.dtype))),
    _input("mean of a column off by 1 % of its std", _statistics(_shift_mean)),
    _input("std of a column 1 % off", _statistics(_widen_std)),
    _input("standardisation left out", _statistics(_drop_statistics)),
    _input("0 for a missing number, not the mean", _table(_zero_for_missing, "missing numbers")),
    _input("category off by one", _table(_next_category, "categories")),
    _input("first category for a missing one", _table(_first_for_missing_category, "missing categories")),
    _input("two columns exchanged", _table(_exchange_columns, "two numbers")),
    _input("rows through float16", _table(lambda rows, _, __: rows.to(torch.float16).to(torch.float32), "anything")),
    _input("rows rounded to two decimals", _table(lambda rows, _, __: (rows * 100).round() / 100, "anything")),
)
