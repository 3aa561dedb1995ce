"""The sum of a loss against its mean: which learning rate gives the same training."""

from functools import partial
from pathlib import Path
from statistics import median

from torch.nn import functional

from train.scratch.models import linear_regression
from train.studies.line import fit_line, line_error, make_line
from train.studies.result import Curve, StudyResult, as_verdict

ARMS = (("mean", 0.03), ("sum", 0.003), ("sum", 0.03))


def carry_out(*, quick: bool, data_root: Path) -> StudyResult:  # noqa: ARG001 - every study takes the same
    """Train three times from each seed, and compare the losses after every epoch."""
    epochs, seeds = (3, range(1)) if quick else (5, range(10))
    data = [make_line(1000, seed=seed) for seed in seeds]
    series, errors = [], []
    for reduction, rate in ARMS:
        loss = partial(functional.mse_loss, reduction=reduction)
        lines = [list(fit_line(data[seed], loss, learning_rate=rate, epochs=epochs, seed=seed)) for seed in seeds]
        series.append(
            [
                median(
                    float(functional.mse_loss(linear_regression(data[seed][0], *lines[seed][epoch]), data[seed][1]))
                    for seed in seeds
                )
                for epoch in range(epochs)
            ]
        )
        errors.append(median(line_error(*run[-1]) for run in lines))
    apart = max(abs(one - other) / one for one, other in zip(series[0], series[1], strict=True))
    noisier = errors[2] / errors[0]
    return StudyResult(
        title=f"Sum and mean of the squared loss in batches of 10: loss on all rows, median of {len(seeds)} seeds",
        claim=(
            "A summed loss needs the learning rate divided by the batch size, 0.003 for 0.03; "
            "left at 0.03, the final error was about as small."
        ),
        columns=("reduction", "rate", *(f"epoch {epoch}" for epoch in range(1, epochs + 1)), "parameter error"),
        rows=tuple(
            (reduction, rate, *losses, error)
            for (reduction, rate), losses, error in zip(ARMS, series, errors, strict=True)
        ),
        finding=(
            f"sum at 0.003 follows mean at 0.03 to within {apart:.1e} of its loss; sum at 0.03 ends with "
            f"{noisier:.1f} times the parameter error."
        ),
        verdict=as_verdict(apart <= 1e-6, noisier <= 2),
        curves=tuple(
            Curve(label=f"{reduction}, rate {rate:g}", x=tuple(range(1, epochs + 1)), y=tuple(losses))
            for (reduction, rate), losses in zip(ARMS, series, strict=True)
        ),
        axes=("epoch", "mean squared error"),
        log_scale=(False, True),
    )
