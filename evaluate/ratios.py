"""How near to its bounds a graph came, and how many times PyTorch's own error that is."""

import math
from collections.abc import Iterable

from evaluate.graph_verdict import Comparison, GraphVerdict, Search
from serve.parity import MAX_FACTOR, RMSE_FACTOR


def worst_ratio(comparisons: Iterable[Comparison]) -> float | None:
    """Return the greatest error over what is allowed; None where an output could not be compared, or has no bound."""
    found = [ratio(comparison) for comparison in comparisons]
    known = [one for one in found if one is not None]
    return max(known) if known and len(known) == len(found) else None


def ratio(comparison: Comparison) -> float | None:
    """Return the larger of error / bound; None where nothing was compared, or has no bound."""
    pairs = ((comparison.rmse, comparison.rmse_bound), (comparison.max_error, comparison.max_bound))
    ratios = [error / bound for error, bound in pairs if error is not None and bound]
    return max(ratios, default=None)


def rmse_multiple(comparisons: Iterable[Comparison]) -> float | None:
    """Return the greatest rmse as a multiple of PyTorch's own; None where an output could not be compared."""
    return _greatest([(c.rmse, c.rmse_bound) for c in comparisons], RMSE_FACTOR)


def max_multiple(comparisons: Iterable[Comparison]) -> float | None:
    """Return the greatest error as a multiple of PyTorch's own; None where an output could not be compared."""
    return _greatest([(c.max_error, c.max_bound) for c in comparisons], MAX_FACTOR)


def _greatest(found: list[tuple[float | None, float | None]], factor: float) -> float | None:
    multiples = []
    for error, bound in found:
        if error is None or bound is None:
            return None
        own = bound / factor
        multiples.append(0.0 if error == 0 else error / own if own else math.inf)
    return max(multiples, default=None)


def worst_slack(comparisons: Iterable[Comparison]) -> float:
    """Return how many times as wide as the rule's the bounds were at most, for a runtime's rounding; 1 is the rule."""
    return max((comparison.slack for comparison in comparisons), default=1.0)


def worst_search(ways: Iterable[GraphVerdict]) -> Search | None:
    """Return the search that found the greatest error of a graph over the ways it was run in; None without any."""
    found = [way.search for way in ways if way.search is not None]
    return max(found, key=lambda one: (one.graph_after is None, one.graph_after or 0.0), default=None)
