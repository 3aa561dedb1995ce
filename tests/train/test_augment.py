"""Augmentation: bounded, drawn from its generator alone, of the same shape and dtype."""

from pathlib import Path

import torch

from train.augment import AUGMENTATIONS, trivial_wide, vary_pen
from train.data import load_dataset
from train.recipes.registry import RECIPES


def test_registry_names_the_functions() -> None:
    assert {"vary-pen": vary_pen, "trivial-wide": trivial_wide} == AUGMENTATIONS


def test_vary_pen_changes_images_reproducibly_and_leaves_its_input_alone() -> None:
    images = torch.from_numpy(load_dataset(RECIPES["digits"], Path("unused")).train.inputs[:64])
    before = images.clone()
    torch.manual_seed(0)
    first = vary_pen(images, torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    second = vary_pen(images, torch.Generator().manual_seed(7))
    other = vary_pen(images, torch.Generator().manual_seed(8))
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert ((first != images).flatten(1).any(dim=1)).float().mean() > 0.95


def test_vary_pen_keeps_an_empty_canvas_empty() -> None:
    empty = torch.zeros((4, 8, 8, 1), dtype=torch.uint8)
    assert torch.equal(vary_pen(empty, torch.Generator().manual_seed(0)), empty)
