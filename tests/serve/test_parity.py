"""The acceptance rule: both bounds from both sides, and that nothing broken passes."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.output_parity import output_parity
from serve.parity import (
    MAX_FACTOR,
    RMSE_FACTOR,
    NumericParity,
    numeric_parity,
    outlying_rows,
    row_parity,
)

REFERENCE = (1 + np.arange(40, dtype=np.float64) / 64).reshape(10, 4)  # exact in float32
STEP = 2.0**-20  # exact in float32 beside values of 1 to 2


def eager_with(error: float) -> NDArray[np.float32]:
    return (REFERENCE.astype(np.float32) + np.float32(error)).astype(np.float32)


EAGER = eager_with(STEP)


def test_eager_itself_passes() -> None:
    parity = numeric_parity(EAGER, eager=EAGER, reference=REFERENCE)
    assert parity.passed
    assert parity.values == 40
    assert parity.rmse * RMSE_FACTOR == pytest.approx(parity.rmse_bound)
    assert parity.max_error * MAX_FACTOR == pytest.approx(parity.max_bound)
    assert parity.ratio == pytest.approx(1 / 3)


@pytest.mark.parametrize(("factor", "passed"), [(2.9, True), (3.1, False)])
def test_rmse_bound_from_both_sides(factor: float, passed: bool) -> None:
    parity = numeric_parity(eager_with(factor * STEP), eager=EAGER, reference=REFERENCE)
    assert parity.max_error <= parity.max_bound
    assert parity.passed is passed


@pytest.mark.parametrize(("factor", "passed"), [(5.8, True), (6.3, False)])
def test_max_bound_from_both_sides(factor: float, passed: bool) -> None:
    candidate = EAGER.copy()
    candidate[3, 1] = np.float32(REFERENCE[3, 1] + factor * STEP)
    parity = numeric_parity(candidate, eager=EAGER, reference=REFERENCE)
    assert parity.rmse <= parity.rmse_bound
    assert parity.passed is passed


def test_bounds_are_inclusive() -> None:
    on = NumericParity(rmse=3.0, rmse_bound=3.0, max_error=6.0, max_bound=6.0, values=1)
    assert on.passed
    assert on.ratio == 1
    over = NumericParity(rmse=math.nextafter(3.0, 4), rmse_bound=3.0, max_error=6.0, max_bound=6.0, values=1)
    assert not over.passed


@pytest.mark.parametrize(("ulps", "passed"), [(2, True), (4, False)])
def test_eager_without_error_leaves_a_floor_of_one_unit_in_the_last_place(ulps: int, passed: bool) -> None:
    reference = np.ones((8, 2))
    candidate = np.full((8, 2), 1 + ulps * 2.0**-23, dtype=np.float32)
    assert numeric_parity(candidate, eager=np.ones((8, 2), np.float32), reference=reference).passed is passed


def test_zeros_must_stay_zeros() -> None:
    zeros = np.zeros((2, 2))
    assert numeric_parity(zeros.astype(np.float32), eager=zeros.astype(np.float32), reference=zeros).passed
    parity = numeric_parity(np.full((2, 2), 1e-30, np.float32), eager=zeros.astype(np.float32), reference=zeros)
    assert not parity.passed
    assert parity.ratio > 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_passes(broken: float) -> None:
    candidate = EAGER.copy()
    candidate[0, 0] = broken
    parity = numeric_parity(candidate, eager=EAGER, reference=REFERENCE)
    assert parity.fault == "candidate has 1 values that are NaN or infinite"
    assert not parity.passed
    assert parity.ratio == math.inf
    reference = REFERENCE.copy()
    reference[0, :2] = broken
    same = reference.astype(np.float32)
    assert (
        numeric_parity(same, eager=EAGER, reference=reference).fault
        == "candidate has 2 values that are NaN or infinite"
    )
    assert numeric_parity(EAGER, eager=same, reference=REFERENCE).fault == "eager has 2 values that are NaN or infinite"
    assert (
        numeric_parity(EAGER, eager=EAGER, reference=reference).fault
        == "reference has 2 values that are NaN or infinite"
    )


def test_nan_figures_do_not_pass() -> None:
    assert not NumericParity(rmse=math.nan, rmse_bound=1, max_error=0, max_bound=1, values=1).passed
    assert not NumericParity(rmse=0, rmse_bound=math.nan, max_error=0, max_bound=1, values=1).passed


def test_shape_and_dtype_are_exact() -> None:
    assert (
        numeric_parity(EAGER[:5], eager=EAGER, reference=REFERENCE).fault == "shape is [5, 4], but [10, 4] was expected"
    )
    wide = EAGER.astype(np.float64)
    assert numeric_parity(wide, eager=EAGER, reference=REFERENCE).fault == "dtype is float64, but float32 was expected"


@pytest.mark.parametrize(
    ("eager", "reference"),
    [
        pytest.param(EAGER[:0], REFERENCE[:0], id="empty"),
        pytest.param(EAGER[:1], REFERENCE, id="shape"),
    ],
)
def test_nothing_to_compare_is_an_error(eager: NDArray[np.float32], reference: NDArray[np.float64]) -> None:
    with pytest.raises(
        ValueError, match=r"eager has shape .* and reference .*, but equal, non-empty ones were expected"
    ):
        numeric_parity(EAGER, eager=eager, reference=reference)


def test_one_perturbed_weight_is_reported() -> None:
    rng = np.random.default_rng(0)
    inputs, weight = rng.normal(size=(64, 100)), rng.normal(size=(100, 10))
    eager = inputs.astype(np.float32) @ weight.astype(np.float32)
    weight32 = weight.astype(np.float32)
    assert numeric_parity(inputs.astype(np.float32) @ weight32, eager=eager, reference=inputs @ weight).passed
    weight32[7, 3] += 1e-4
    assert not numeric_parity(inputs.astype(np.float32) @ weight32, eager=eager, reference=inputs @ weight).passed


@pytest.mark.parametrize(
    ("wrong", "eager_wrong", "passed"),
    [
        pytest.param(1, 0, True, id="one in a thousand"),
        pytest.param(2, 0, False, id="two"),
        pytest.param(6, 2, True, id="three times eager's"),
        pytest.param(7, 2, False, id="more"),
    ],
)
def test_integers_are_right_or_wrong(wrong: int, eager_wrong: int, passed: bool) -> None:
    reference = np.arange(1000)
    candidate, eager = reference.copy(), reference.copy()
    candidate[:wrong] += 500
    eager[:eager_wrong] += 1
    assert numeric_parity(candidate, eager=eager, reference=reference).passed == passed


@pytest.mark.parametrize(("rows_wrong", "passed"), [(2, True), (8, True), (9, False), (16, False)])
def test_one_place_of_a_thousand_may_not_be_wrong_in_most_rows(rows_wrong: int, passed: bool) -> None:
    reference = np.zeros((16, 1000), np.int64)
    candidate = reference.copy()
    candidate[:rows_wrong, 7] = 1
    assert numeric_parity(candidate, eager=reference, reference=reference).passed is passed  # type: ignore[arg-type]


def softmax_of(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def outputs_of(logits: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    rounded = logits.astype(np.float32)
    return {"logits": rounded, "probabilities": softmax_of(rounded.astype(np.float64)).astype(np.float32)}


LOGITS = np.random.default_rng(8).normal(scale=4, size=(64, 10))
EXACT = {"logits": LOGITS, "probabilities": softmax_of(LOGITS)}


def noisy_logits(ulps: float) -> NDArray[np.float64]:
    # the rows that are least sure have most of the error, as chance has it
    share = np.where(EXACT["probabilities"].max(axis=1) < 0.7, 1.5, 0.2)[:, None]
    return LOGITS + np.random.default_rng(9).choice([-1, 1], LOGITS.shape) * share * ulps * np.spacing(np.float32(4))


def test_an_error_that_logits_may_have_is_not_held_against_probabilities() -> None:
    eager, graph = outputs_of(LOGITS), outputs_of(noisy_logits(2.4))
    assert output_parity("logits", graph, eager=eager, reference=EXACT).passed
    alone = numeric_parity(graph["probabilities"], eager=eager["probabilities"], reference=EXACT["probabilities"])
    assert not alone.passed
    assert output_parity("probabilities", graph, eager=eager, reference=EXACT).passed


@pytest.mark.parametrize(
    ("logits_off", "spoil"),
    [
        pytest.param(9.0, lambda p: p, id="logits-too-far"),
        pytest.param(2.4, lambda p: softmax_of(p.astype(np.float64)).astype(np.float32), id="softmax-twice"),
        pytest.param(2.4, lambda p: p * np.float32(1 + 2e-6), id="a-little-too-large"),
        pytest.param(2.4, lambda p: p[:, ::-1].copy(), id="classes-reversed"),
    ],
)
def test_probabilities_of_other_logits_fail(
    logits_off: float, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> None:
    graph = outputs_of(noisy_logits(logits_off))
    graph["probabilities"] = spoil(graph["probabilities"])
    assert not output_parity("probabilities", graph, eager=outputs_of(LOGITS), reference=EXACT).passed


def test_probabilities_that_are_clipped_below_what_eager_errs_by_fail() -> None:
    steep = {"logits": 100 * LOGITS, "probabilities": softmax_of(100 * LOGITS)}
    coarse = 100 * LOGITS + np.random.default_rng(3).normal(scale=1.0, size=LOGITS.shape)
    eager, graph = outputs_of(coarse), outputs_of(100 * LOGITS)
    assert output_parity("probabilities", graph, eager=eager, reference=steep).passed
    graph["probabilities"] = np.clip(graph["probabilities"], 1e-6, 1).astype(np.float32)
    assert numeric_parity(graph["probabilities"], eager=eager["probabilities"], reference=steep["probabilities"]).passed
    assert not output_parity("probabilities", graph, eager=eager, reference=steep).passed


def test_tensors_that_are_only_called_logits_and_probabilities_are_judged_alone() -> None:
    others = {"logits": LOGITS, "probabilities": softmax_of(LOGITS / 2)}
    eager = {name: values.astype(np.float32) for name, values in others.items()}
    assert output_parity("probabilities", eager, eager=eager, reference=others).passed


ROWS, WIDTH = 24, 10


def with_a_chaotic_row(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the reference, eager's errors, and another draw; one row's are a thousand times as large."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(ROWS, WIDTH))
    scale = np.full((ROWS, 1), STEP)
    scale[5] = 1000 * STEP
    errors = [scale * rng.normal(size=(ROWS, WIDTH)) for _ in range(2)]
    errors[0][5] /= 8  # eager's luck
    return reference, errors[0], errors[1]


def test_one_chaotic_row_does_not_decide_alone() -> None:
    reference, own, other = with_a_chaotic_row(0)
    eager, graph = ((reference + error).astype(np.float32) for error in (own, other))
    assert not numeric_parity(graph, eager=eager, reference=reference).passed
    judged = row_parity(graph, eager=eager, reference=reference)
    assert judged.passed
    assert judged.apart is not None
    assert list(np.flatnonzero(judged.apart)) == [5]
    bounds = judged.row_bound
    assert isinstance(bounds, np.ndarray)
    assert bounds[5] > 100 * bounds[0]


def test_a_fault_does_not_hide_behind_a_chaotic_row() -> None:
    reference, own, other = with_a_chaotic_row(1)
    own[5] *= 8
    eager = (reference + own).astype(np.float32)
    faulty = (reference + other + 20 * STEP * (np.arange(ROWS) != 5)[:, None]).astype(np.float32)
    assert numeric_parity(faulty, eager=eager, reference=reference).passed
    judged = row_parity(faulty, eager=eager, reference=reference)
    assert not judged.passed
    assert judged.ratio > 1
    assert "rows where" not in judged.sentence


def test_a_chaotic_row_may_not_be_anything() -> None:
    reference, own, other = with_a_chaotic_row(2)
    eager, graph = ((reference + error).astype(np.float32) for error in (own, other))
    graph[5] += 1
    judged = row_parity(graph, eager=eager, reference=reference)
    assert not judged.passed
    assert "on rows where PyTorch's own is far above the others'" in judged.sentence


@pytest.mark.parametrize("apart", [7, 12])
def test_where_many_rows_stand_out_none_is_judged_apart(apart: int) -> None:
    error = np.full((ROWS, WIDTH), STEP)
    error[:apart] *= 100
    assert not outlying_rows(error, np.ones((ROWS, WIDTH))).any()
    error[6:apart] /= 100
    assert outlying_rows(error, np.ones((ROWS, WIDTH))).sum() == 6
    assert not outlying_rows(error[5:12], np.ones((7, WIDTH))).any()


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (5, True), (6, False), (10, False)])
def test_a_rare_class_may_not_be_lost(wrong: int, passed: bool) -> None:
    reference = np.zeros((32, 1000), np.int64)
    reference[np.arange(10) * 3, np.arange(10) * 7] = 3  # ten of 32,000 values
    candidate = reference.copy()
    candidate[tuple(np.argwhere(reference == 3)[:wrong].T)] = 0
    assert numeric_parity(candidate, eager=reference, reference=reference).passed is passed  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize(("factor", "passed"), [(1 + 1e-8, True), (1.001, False), (-1.0, False), (0.0, False)])
def test_what_is_small_beside_the_rest_must_be_right_as_well(axis: int, factor: float, passed: bool) -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(16, 2, 3, 2))
    small = (slice(None), 1) if axis == 1 else (..., 1)
    reference[small] *= 1e-7
    eager = (reference * (1 + 1e-8 * rng.normal(size=reference.shape))).astype(np.float32)
    outputs = reference.copy()
    outputs[small] *= factor
    candidate = outputs.astype(np.float32)
    assert numeric_parity(candidate, eager=eager, reference=reference).passed, "the whole hides it"
    judged = output_parity("both", {"both": candidate}, eager={"both": eager}, reference={"both": reference})
    assert judged.passed is passed


def test_a_small_part_of_zeros_is_no_false_alarm() -> None:
    reference = np.random.default_rng(0).normal(size=(16, 3))
    reference[:, 1] = 0
    eager = reference.astype(np.float32)
    assert output_parity("both", {"both": eager}, eager={"both": eager}, reference={"both": reference}).passed
