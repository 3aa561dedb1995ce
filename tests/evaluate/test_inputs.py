"""The input sets: every batch size, rows on the boundary, hostile neighbours, and no more than a model can take."""

import numpy as np
import pytest

from evaluate.image_inputs import blend_images, image_input_sets
from evaluate.inputs import Arrays, bisect, count
from evaluate.plan import FULL, QUICK, plan_of
from evaluate.tensor_inputs import tensor_input_sets


def one_class(inputs: Arrays) -> np.ndarray:
    return np.zeros(count(inputs), np.int64)


def bright(inputs: Arrays) -> np.ndarray:
    images = inputs["image"]
    return (images.reshape(len(images), -1).mean(axis=1) > 100).astype(np.int64)


def test_boundary_images_lie_on_either_side_of_the_boundary() -> None:
    images = np.concatenate([np.full((8, 4, 4, 1), 10, np.uint8), np.full((8, 4, 4, 1), 250, np.uint8)])
    found = bisect({"image": images}, blend_images, steps=12, predict=bright, rng=np.random.default_rng(0), pairs=32)
    assert sorted({int(image.mean()) for image in found["image"]}) == [100, 101]


def test_no_boundary_where_every_prediction_is_the_same() -> None:
    images = {"image": np.zeros((8, 4, 4, 1), np.uint8)}
    found = bisect(images, blend_images, steps=12, predict=one_class, rng=np.random.default_rng(0), pairs=32)
    assert found["image"].shape == (0, 4, 4, 1)


def test_input_sets_cover_all_batch_sizes_and_hide_hostile_rows() -> None:
    held_out = np.random.default_rng(0).integers(0, 200, size=(70, 4, 4, 1), dtype=np.uint8)
    sets = image_input_sets({"image": held_out}, predict=one_class, seed=0)
    assert {s.batch_size for s in sets} == set(FULL.batch_sizes)
    hostile = sets[-1]
    np.testing.assert_array_equal(hostile.inputs["image"][hostile.judged], held_out[:64])
    assert (hostile.inputs["image"][2::3] == 255).all()


def test_few_images_are_filled_up_with_what_lies_between_them() -> None:
    held_out = np.random.default_rng(0).integers(50, 200, size=(3, 4, 4, 1), dtype=np.uint8)
    first = image_input_sets({"image": held_out}, predict=None, seed=0)[0]
    assert first.name == "held-out samples and mixtures of them"
    assert len(first.inputs["image"]) == 64
    np.testing.assert_array_equal(first.inputs["image"][:3], held_out)
    assert first.inputs["image"].min() >= held_out.min()


def test_quick_sets_are_fewer() -> None:
    held_out = {"image": np.random.default_rng(0).integers(0, 256, size=(70, 4, 4, 1), dtype=np.uint8)}
    full, quick = (image_input_sets(held_out, predict=bright, seed=0, plan=plan) for plan in (FULL, QUICK))
    assert {s.batch_size for s in quick if "again" in s.name} == set(QUICK.batch_sizes)
    assert len(quick) < len(full)
    assert "on the decision boundary" in {s.name for s in full} - {s.name for s in quick}


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no held-out samples"):
        image_input_sets({"image": np.zeros((0, 4, 4, 1), np.uint8)}, predict=one_class, seed=0)


def tokens(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"tokens": rng.integers(3, 9, size=(rows, 5)), "scale": rng.normal(size=(rows, 2, 3)).astype(np.float32)}


def test_tensors_keep_their_dtypes_and_integers_their_range() -> None:
    held_out = tokens(10)
    sets = tensor_input_sets(held_out, held_out, predict=None, seed=0)
    assert {s.batch_size for s in sets} == set(FULL.batch_sizes)
    for inputs in sets:
        assert {name: values.dtype for name, values in inputs.inputs.items()} == {
            "tokens": np.dtype(np.int64),
            "scale": np.dtype(np.float32),
        }
        assert (inputs.inputs["tokens"].min(), inputs.inputs["tokens"].max()) >= (3, 3)
        assert inputs.inputs["tokens"].max() <= 8
        assert {len(values) for values in inputs.inputs.values()} == {len(inputs.judged)}
    names = [s.name for s in sets]
    assert names[:2] == ["held-out samples and mixtures of them", "noise, all lowest, all highest"]
    assert {"noise x 0.01", "noise x 100", "held-out samples x 0.01", "held-out samples x 100"} <= set(names)
    loudest = max(np.abs(s.inputs["scale"]).max() for s in sets)
    assert loudest > 100


def test_integers_alone_are_not_scaled() -> None:
    held_out = {"tokens": tokens(10)["tokens"]}
    names = {s.name for s in tensor_input_sets(held_out, held_out, predict=one_class, seed=0)}
    assert not any(" x " in name for name in names)


def test_the_boundary_of_several_inputs_is_found() -> None:
    held_out = tokens(64)

    def positive(inputs: Arrays) -> np.ndarray:
        return (inputs["scale"].sum(axis=(1, 2)) > 0.5).astype(np.int64)

    sets = tensor_input_sets(held_out, held_out, predict=positive, seed=0)
    (boundary,) = (s for s in sets if s.name == "on the decision boundary")
    distance = np.sort(np.abs(boundary.inputs["scale"].sum(axis=(1, 2)) - 0.5))
    assert (distance[:20] < 1e-5).all()


def test_costly_rows_are_fewer_and_known_from_the_samples() -> None:
    held_out = {"image": np.random.default_rng(0).integers(0, 256, size=(70, 4, 4, 1), dtype=np.uint8)}
    plan = plan_of(quick=False, flops_per_row=8_000_000_000, width=1000)
    assert (plan.rows, plan.again, plan.samples) == (16, 4, 25)
    assert plan.batch_sizes == (1, 2, 7, 32)
    assert plan_of(quick=False, flops_per_row=8_000_000_000, width=3).rows == 32
    assert plan_of(quick=False, flops_per_row=8_000_000_000, samples=500).samples == 500
    assert plan_of(quick=False, flops_per_row=1_000_000) == FULL
    sets = image_input_sets(held_out, predict=bright, seed=0, plan=plan)
    again = [inputs for inputs in sets if inputs.known is not None]
    assert [(inputs.batch_size, len(inputs.judged)) for inputs in again] == [(1, 4), (2, 4), (7, 7), (32, 32), (64, 12)]
    for inputs in again:
        assert inputs.known is not None
        rows = sets[0].inputs["image"][inputs.known]
        np.testing.assert_array_equal(inputs.inputs["image"][inputs.judged], rows[inputs.judged])


def test_noise_is_not_called_samples() -> None:
    held_out = tokens(10)
    names = {
        s.name
        for s in tensor_input_sets(held_out, held_out, predict=None, seed=0, plan=plan_of(quick=True, real=False))
    }
    assert names
    assert not any("held-out" in name for name in names)
