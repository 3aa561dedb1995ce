"""One recipe all the way: train, export, certify, serve, predict in batches, measure; every step is checked."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from train.recipes.recipe import Recipe
from train.reproduction.answers import ask, read_answers
from train.reproduction.expected import quantities_of
from train.reproduction.measure import Trained, measure, read_trained
from train.reproduction.processes import run_module, served
from train.reproduction.repeat import repeat
from train.reproduction.result import Machine, Result, Step, recipe_digest, source_digest
from train.reproduction.samples import Answer, Samples, differences, draw_samples

KEPT = ("duration_s", "slow_first_loss", "slow_last_loss")  # asked for by the page beside the figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things lie: runs, bundles, tables, logs and results below ``out``."""

    out: Path
    data_root: Path

    def of(self, kind: str, recipe: Recipe) -> Path:
        """Return a recipe's own folder of a kind."""
        return self.out / kind / recipe.name

    def result(self, name: str) -> Path:
        """Return the file that holds a recipe's result."""
        return self.out / "results" / f"{name}.json"


@dataclass(slots=True, kw_only=True)
class _Steps:
    """The steps so far, each told to whoever wants to know."""

    on_step: Callable[[Step], None]
    on_start: Callable[[str], None]
    done: list[Step] = field(default_factory=list)

    @contextmanager
    def take(self, name: str) -> Iterator[list[str]]:
        """Time a step; the block appends notes, and a fault as one that starts with ``not``."""
        self.on_start(name)
        start = time.perf_counter()
        notes: list[str] = []
        yield notes
        step = Step(
            name=name,
            passed=not any(note.startswith("not ") for note in notes),
            note=", ".join(notes),
            duration_s=time.perf_counter() - start,
        )
        self.done.append(step)
        self.on_step(step)


def carry_out(
    recipe: Recipe, place: Place, *, on_step: Callable[[Step], None], on_start: Callable[[str], None]
) -> Result:
    """Do every step for one recipe; a graph that is not certified is neither served nor asked.

    Args:
        recipe: Which one.
        place: Where things lie.
        on_step: Is told of each step when it is done.
        on_start: Is told the name of each step when it starts.

    Raises:
        StepError: a step could not be done.
        DataError: the data cannot be read.
        RunError: the run cannot be read.
        MeasureError: training again gives other numbers than the run.
    """
    steps = _Steps(on_step=on_step, on_start=on_start)
    digest = source_digest()  # before anything starts: what changes while it runs makes it done anew next time
    run, bundle, logs = (place.of(kind, recipe) for kind in ("runs", "bundles", "logs"))
    root = ("--data-root", str(place.data_root))
    with steps.take("train"):
        # on the CPU, where equal seeds give equal digits
        command = ["train", "run", recipe.name, "--out", str(run), "--overwrite", "--device", "cpu", *root]
        run_module(command, logs / "train.log")
    with steps.take("export"):
        run_module(("export", str(run), "--out", str(bundle), *root), logs / "export.log")
    with steps.take("parity") as notes:
        command = ["evaluate", "parity", str(bundle), "--provider", "cpu", *root]
        code = run_module(command, logs / "parity.log", allowed=(0, 1))
        notes.append("passed" if code == 0 else f"not passed, exit {code}")
    trained = read_trained(recipe, run, place.data_root)
    if code == 0:
        _ask(trained, place, steps)
    with steps.take("measure"):
        more = repeat(trained)
        values = measure(trained) | more.values
        wanted = quantities_of(recipe.name) | set(KEPT)
    return Result(
        recipe=recipe.name,
        recipe_sha256=recipe_digest(recipe),
        source_sha256=digest,
        source_revision=trained.run.source_revision,
        machine=this_machine(),
        steps=tuple(steps.done),
        values={name: value for name, value in sorted(values.items()) if name in wanted},
        seeds={name: numbers for name, numbers in sorted(more.seeds.items()) if name in wanted},
    )


def _ask(trained: Trained, place: Place, steps: _Steps) -> None:
    recipe, samples = trained.recipe, draw_samples(trained)
    bundle, logs = place.of("bundles", recipe), place.of("logs", recipe)
    with steps.take("serve") as notes:
        with served(bundle, logs / "serve.log") as port:
            answers = ask(port, recipe, samples)
        notes.append(_verdict("HTTP", answers, samples.expected[: len(answers)]))
    with steps.take("batch") as notes:
        notes += _predict_batches(trained.recipe, samples, place)


def _predict_batches(recipe: Recipe, samples: Samples, place: Place) -> Iterator[str]:
    """Predict each file in turn, images into Parquet, CSV into CSV, Parquet into Parquet."""
    bundle, logs, tables = (place.of(kind, recipe) for kind in ("bundles", "logs", "tables"))
    for source in samples.write(place.of("samples", recipe)):
        suffix = ".csv" if source.suffix == ".csv" else ".parquet"
        out = tables / f"predictions{suffix}"
        tables.mkdir(parents=True, exist_ok=True)
        command = ("serve.batch", str(bundle), str(source), "--out", str(out), "--provider", "cpu")
        run_module(command, logs / f"batch{suffix}.log")
        kind = "PNG" if source.is_dir() else suffix[1:].upper()
        yield _verdict(f"{kind} to {suffix[1:].upper()}", read_answers(out, recipe), samples.expected)


def _verdict(what: str, actual: list[Answer], expected: tuple[Answer, ...]) -> str:
    wrong = differences(actual, expected)
    if wrong:
        return f"not equal: {what}, {wrong} of {len(expected)} rows"
    return f"{what}: {len(expected)} rows"


def this_machine() -> Machine:
    """Return what may be said of the machine this runs on."""
    return Machine(
        python=platform.python_version(),
        torch=str(torch.__version__),
        system=f"{platform.system()} {platform.machine()}",
        instructions=torch.backends.cpu.get_cpu_capability(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
