"""Runs side by side: their figures, which is best in each, and whether they can be compared at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from train.comparison_chart import ChartRun, draw_comparison
from train.diagnose import Diagnosis, diagnose_run
from train.run import EpochMetrics, Run, RunError, kept_metrics, read_metrics, read_run

# What is best where runs are compared, and whether more is better. Epochs, device and diagnosis have no best.
BEST = {
    "validation_top1_accuracy": max,
    "validation_loss": min,
    "test_top1_accuracy": max,
    "test_loss": min,
    "parameters": min,
    "duration_s": min,
}
_ACCURACIES = ("validation_top1_accuracy", "test_top1_accuracy")
_LOSSES = ("validation_loss", "test_loss")
# In what runs may differ, which figures that keeps from being compared, and how to say so.
CONSEQUENCES = {
    "tasks": ((*_ACCURACIES, *_LOSSES), "their results answer different questions"),
    "data": ((*_ACCURACIES, *_LOSSES), "their results are of different test rows"),
    "losses": (_LOSSES, "their losses are different figures"),
    "validation rows": (
        ("validation_top1_accuracy", "validation_loss"),
        "their validation results are of different rows",
    ),
    "devices": (("duration_s",), "their durations are of different machines"),
    "epochs": (("duration_s",), "their durations are of more or less work"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run's figures: those of the epoch whose weights it holds."""

    run: str
    recipe: str | None
    epochs: int
    best_epoch: int | None
    test_top1_accuracy: float | None
    test_loss: float
    validation_loss: float | None
    validation_top1_accuracy: float | None
    parameters: int
    duration_s: float
    device: str
    finished: bool
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several runs; the last expression of a notebook cell shows the chart.

    Attributes:
        runs: In the order given.
        best: For each figure of `BEST` the names of the best runs; none where all are equal or the runs are unlike.
        notes: What keeps the figures from being compared, one sentence each.
        png: The chart.
    """

    runs: tuple[ComparedRun, ...]
    best: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png


def compare_runs(paths: Sequence[Path | str]) -> Comparison:
    """Read runs and compare them.

    Raises:
        RunError: there are fewer than two, one is missing or damaged, one is given twice, or regressions stand beside
            classifications.
    """
    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise RunError(f"{len(folders)} run is given, but at least two were expected to compare; name another one")
    twice = {str(folder) for folder in folders if sum(folder.resolve() == other.resolve() for other in folders) > 1}
    if twice:
        raise RunError(f"{min(twice)} is given twice, but different runs were expected; name each once")
    read = [(read_run(folder), read_metrics(folder)) for folder in folders]
    names = _names(folders)
    _check_tasks(names, [run for run, _ in read])
    runs = tuple(_compared(name, run, history) for name, (run, history) in zip(names, read, strict=True))
    differences = _differences([run for run, _ in read])
    best = _best(runs, differences)
    notes = _notes([run for run, _ in read], differences, starred=any(figure.startswith("test_") for figure in best))
    chart = [ChartRun(name=name, run=run, history=history) for name, (run, history) in zip(names, read, strict=True)]
    return Comparison(runs=runs, best=best, notes=notes, png=draw_comparison(chart))


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, or the whole paths where those are not all different."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _check_tasks(names: Sequence[str], runs: Sequence[Run]) -> None:
    for name, run in zip(names, runs, strict=True):
        if (run.task == "regression") != (runs[0].task == "regression"):
            raise RunError(
                f"{names[0]} is a {runs[0].task}, but {name} is a {run.task}, and they have no figure in common; "
                "compare runs of one kind"
            )


def _compared(name: str, run: Run, history: Sequence[EpochMetrics]) -> ComparedRun:
    kept = kept_metrics(run, history)
    return ComparedRun(
        run=name,
        recipe=run.recipe,
        epochs=run.epochs_done,
        best_epoch=run.best_epoch,
        test_top1_accuracy=kept.test_top1_accuracy,
        test_loss=kept.test_loss,
        validation_loss=kept.validation_loss,
        validation_top1_accuracy=kept.validation_top1_accuracy,
        parameters=run.parameters,
        duration_s=run.duration_s,
        device=run.device,
        finished=run.finished,
        diagnosis=diagnose_run(run, history),
    )


def _differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Return in what the runs differ that keeps figures from being compared, and how."""
    kinds: dict[str, set[str]] = {
        "tasks": {run.task for run in runs},
        "data": {_data(run, runs) for run in runs},
        "losses": {run.loss for run in runs},
        "validation rows": _validation_rows(runs),
        "devices": {run.device for run in runs},
        "epochs": {str(run.epochs_done) for run in runs},
    }
    # as numbers are sorted, not as words
    return {
        name: tuple(sorted(found, key=lambda text: (len(text) if name == "epochs" else 0, text)))
        for name, found in kinds.items()
        if len(found) > 1
    }


def _notes(runs: Sequence[Run], differences: dict[str, tuple[str, ...]], *, starred: bool) -> tuple[str, ...]:
    notes = [
        f"the runs have different {name} ({', '.join(found)}), so {CONSEQUENCES[name][1]}"
        for name, found in differences.items()
        if name != "epochs"  # a column says so
    ]
    if starred:
        notes.append(
            "a star at a test figure is no basis for a choice, as the chosen run would look too good; "
            "go by validation figures, which --validation 0.1 gives"
        )
    stopped = sum(not run.finished for run in runs)
    if stopped:
        notes.append(f"{stopped} of the runs {'is' if stopped == 1 else 'are'} not finished")
    return tuple(notes)


def _validation_rows(runs: Sequence[Run]) -> set[str]:
    """Return which rows were set aside, in words; nothing where a run set none aside."""
    if not all(run.validation for run in runs):
        return set()
    return {f"{run.validation:g} by seed {run.seed}" for run in runs}


def _data(run: Run, runs: Sequence[Run]) -> str:
    """Return the name of a run's data, with its digest where other data has the same name."""
    same_name = {other.data.sha256 for other in runs if other.data.name == run.data.name}
    return run.data.name if len(same_name) == 1 else f"{run.data.name} {run.data.sha256[:8]}…"


def _best(runs: Sequence[ComparedRun], differences: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    incomparable = {figure for name in differences for figure in CONSEQUENCES[name][0]}
    best = {}
    for figure, choose in BEST.items():
        values = [getattr(run, figure) for run in runs]
        if figure in incomparable or None in values or len(set(values)) == 1:
            continue
        best[figure] = tuple(run.run for run in runs if getattr(run, figure) == choose(values))
    return best
