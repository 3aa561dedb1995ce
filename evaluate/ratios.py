"""How near to its bounds a graph came."""

from collections.abc import Iterable

from evaluate.certificate import Comparison


def worst_ratio(comparisons: Iterable[Comparison]) -> float | None:
    """Return the greatest error over what is allowed; None where an output could not be compared, or has no bound."""
    found = [_ratio(comparison) for comparison in comparisons]
    known = [ratio for ratio in found if ratio is not None]
    return max(known) if known and len(known) == len(found) else None


def _ratio(comparison: Comparison) -> float | None:
    pairs = ((comparison.rmse, comparison.rmse_bound), (comparison.max_error, comparison.max_bound))
    ratios = [error / bound for error, bound in pairs if error is not None and bound]
    return max(ratios, default=None)
