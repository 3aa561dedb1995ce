import numpy as np
import pytest
from scipy.stats import binom

import evaluate.compare
import export.closeness
import serve.decisions
from evaluate.compare import decision_parity, interval, upper_bound, vacuity
from serve.drift import judge_drift

REFERENCE = np.asarray([[2.0, 1.0, 0.0], [0.0, 0.1, 0.0], [5.0, 0.0, 4.0]])


def test_equal_logits_decide_alike() -> None:
    parity = decision_parity(REFERENCE.copy(), REFERENCE, allowed_error=0.01)
    assert parity.passed
    assert (parity.rows, parity.flips, parity.unflippable_share) == (3, 0, 1.0)


def test_a_flip_within_twice_the_allowed_error_is_chance() -> None:
    candidate = REFERENCE.copy()
    candidate[1] = [0.11, 0.1, 0.0]
    parity = decision_parity(candidate, REFERENCE, allowed_error=0.05)
    assert (parity.flips, parity.flips_beyond_margin) == (1, 0)
    assert parity.passed


def test_a_flip_beyond_twice_the_allowed_error_is_the_graphs_fault() -> None:
    candidate = REFERENCE.copy()
    candidate[1] = [0.11, 0.1, 0.0]
    parity = decision_parity(candidate, REFERENCE, allowed_error=0.049)
    assert (parity.flips, parity.flips_beyond_margin) == (1, 1)
    assert not parity.passed


def test_rows_with_a_margin_below_twice_the_error_are_not_certified() -> None:
    candidate = REFERENCE.copy()
    candidate[0, 2] += 0.06
    assert decision_parity(candidate, REFERENCE, allowed_error=0.1).unflippable_share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        pytest.param(np.zeros((2, 3)), np.zeros((2, 4)), id="other shape"),
        pytest.param(np.zeros((0, 3)), np.zeros((0, 3)), id="no rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(candidate: np.ndarray, reference: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one row was expected"):
        decision_parity(candidate, reference, allowed_error=0.1)


@pytest.mark.parametrize(("events", "trials"), [(0, 256), (0, 2048), (3, 100), (99, 100)])
def test_the_upper_bound_leaves_five_per_cent(events: int, trials: int) -> None:
    assert binom.cdf(events, trials, upper_bound(events, trials)) == pytest.approx(0.05)


def test_bounds_at_the_ends() -> None:
    assert upper_bound(0, 2048) == pytest.approx(0.00146, abs=1e-5)
    assert upper_bound(5, 5) == 1.0
    assert interval(0, 10)[0] == 0.0
    assert interval(10, 10)[1] == 1.0


@pytest.mark.parametrize(("events", "trials"), [(1, 10), (8838, 10_000)])
def test_the_interval_leaves_two_and_a_half_per_cent_on_either_side(events: int, trials: int) -> None:
    low, high = interval(events, trials)
    assert 1 - binom.cdf(events - 1, trials, low) == pytest.approx(0.025)
    assert binom.cdf(events, trials, high) == pytest.approx(0.025)


def test_an_output_that_hardly_varies_proves_nothing() -> None:
    assert vacuity(REFERENCE, allowed_error=0.0499) is None
    assert vacuity(REFERENCE, allowed_error=0.05) == (
        "it varies by 5 over 3 rows, but more than 5 (100 times the allowed error) is needed to tell a graph from a "
        "constant"
    )
    assert vacuity(REFERENCE[:1], allowed_error=1e-9) is not None


def test_parity_drift_and_the_choice_of_a_method_decide_alike_on_the_boundary() -> None:
    assert evaluate.compare.decide is serve.decisions.decide
    middle, above, below = (np.array([[value]] * 20) for value in (0.0, 1e-12, -1e-12))
    for other, flips in ((above, 0), (below, 20)):
        assert export.closeness.compare(middle, other, decisive=True).flips == flips
        drift = judge_drift(
            "logits",
            middle,
            eager=other,
            reference=other,
            held_out=np.ones(20, dtype=np.bool_),
            decisive=True,
            precision="int8",
        )
        assert drift.flips == flips
