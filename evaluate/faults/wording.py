"""How cases and shares are called, on the page and in a terminal."""

from evaluate.faults.case import Case
from evaluate.faults.power import Share

FAMILIES = {
    "input": "preprocessing",
    "layer": "layers",
    "weights": "weights",
    "output": "outputs",
    "batch": "rows of a batch",
    "graph": "ONNX graph",
    "bundle": "a bundle of the digits model",
}


def name_of(case: Case) -> str:
    """Return what a case is called in a sentence."""
    where = case.subject if case.scale is None else f"{case.subject} at scale {case.scale:g}"
    return f"{case.kind}, {where}"


def effect_in_words(case: Case) -> str:
    """Return how far a fault moves outputs, where that is known, to be put behind its name."""
    if case.effect is None:
        return ""
    return f": it moves outputs by at most {case.effect:.2g} x the greatest error of PyTorch's own float32"


def count(share: Share) -> str:
    """Return how many of how many."""
    return f"{share.events} / {share.trials}"


def interval_95(share: Share) -> str:
    """Return the exact 95 % interval of a rate, in per cent."""
    low, high = share.interval_95
    return f"{100 * low:.1f} to {100 * high:.1f}"
