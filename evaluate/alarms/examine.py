"""One recipe with one seed through the commands that a user types: train, export, parity; all in this process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import export.__main__ as export_command
import train.__main__ as train_command
from evaluate.alarms.result import Graph, Result, Settings
from evaluate.certificate import WORST_FIRST
from evaluate.in_process import FAILS, HOLDS, FoundGraph, Judged, judge_here, run_here
from evaluate.ratios import worst_ratio
from evaluate.resealed import drop_files
from evaluate.torch_threads import torch_threads
from serve.bundle import Bundle, read_bundle
from serve.manifest import FileEntry
from train.recipes.recipe import Recipe
from train.reproduction.result import recipe_digest
from train.revision import source_revision

# Where all epochs take more than about 20 s on two cores; a graph is right after any number of them.
MOST_EPOCHS = {"fashion-softmax-1000": 20, "fashion-tinyvgg": 2}
REDUCED = ("onnx-fp16", "onnx-int8")


class _FailedError(Exception):
    """A command that did not do what it is for; says its last words."""


def examine(
    recipe: Recipe,
    seed: int,
    folder: Path,
    *,
    data_root: Path,
    settings: Settings,
    on_step: Callable[[str], None] = lambda _: None,
) -> Result:
    """Train a recipe, export it in every format, and have it judged in full.

    Args:
        recipe: Its own settings hold, but where that takes long, for fewer epochs.
        seed: Of weights, order and augmentation.
        folder: Where run and bundle stand meanwhile; it is there.
        data_root: Where the data is; nothing is downloaded.
        settings: Which formats.
        on_step: Told what is being done.
    """
    epochs = min(recipe.epochs, MOST_EPOCHS.get(recipe.name, recipe.epochs))
    result = Result(
        recipe=recipe.name,
        seed=seed,
        settings=settings,
        recipe_sha256=recipe_digest(recipe),
        source_revision=source_revision(),
        epochs=epochs,
        planned=recipe.epochs,
    )
    run, bundle = folder / "run", folder / "bundle"
    root = ("--data-root", str(data_root))
    try:
        on_step("training")
        with torch_threads(None):  # a recipe may have a number of its own, and leaves it behind
            command = ("run", recipe.name, "--seed", str(seed), "--epochs", str(epochs), "--device", "cpu")
            trained = run_here(train_command.main, *command, "--out", str(run), *root)
        if trained.code != HOLDS:
            raise _FailedError(f"train: {trained.last_words}")
        result = replace(result, train_s=trained.duration_s)
        on_step("exporting")
        export_s, refused = _export(run, bundle, settings.formats, root)
        result = replace(result, export_s=export_s, refused=refused)
        on_step("judging")
        judged = _judge(bundle, root)
        whole = read_bundle(bundle)
        exact = judged
        if judged.code == FAILS and any(graph.precision != "float32" for graph in judged.graphs):
            on_step("judging float32 alone")
            drop_files(bundle, lambda entry: entry.precision not in {None, "float32"})
            exact = _judge(bundle, root)
    except _FailedError as error:
        return replace(result, failure=str(error))
    return replace(
        result,
        parity_s=judged.duration_s,
        exit_code=judged.code,
        exact_exit_code=exact.code,
        graphs=_by_format(whole, judged),
        wrong=tuple(f"{check.name}: {check.detail}" for check in judged.checks if not check.passed),
    )


def _export(run: Path, bundle: Path, formats: tuple[str, ...], root: tuple[str, ...]) -> tuple[float, dict[str, str]]:
    """Export in all formats, or without those of reduced precision that the exporter refuses, which it says."""
    refused: dict[str, str] = {}
    duration_s = 0.0
    while True:
        wanted = [name for name in formats if name not in refused]
        ended = run_here(
            export_command.main, str(run), "--out", str(bundle), "--formats", *wanted, "--certify", "none", *root
        )
        duration_s += ended.duration_s
        if ended.code == HOLDS:
            return duration_s, refused
        unwilling = next((name for name in REDUCED if name in wanted and name in ended.last_words), None)
        if unwilling is None:
            raise _FailedError(f"export: {ended.last_words}")
        refused[unwilling] = ended.last_words


def _judge(bundle: Path, root: tuple[str, ...]) -> Judged:
    judged = judge_here(bundle, "--provider", "cpu", "--trust", *root)  # it was written here
    if judged.code not in {HOLDS, FAILS}:
        raise _FailedError(f"parity, exit code {judged.code}: {judged.reason}")
    return judged


def _by_format(bundle: Bundle, judged: Judged) -> tuple[Graph, ...]:
    """Sum up each graph file; Triton's has the bytes of `graph.onnx`, or the manifest would be refused."""
    found = {}
    for entry in bundle.manifest.files:
        runs = [verdict for verdict in judged.graphs if verdict.graph == entry.path]
        if runs:
            found[entry.sha256] = _sum_up(format_of(entry), runs)
    copies = [
        replace(found[entry.sha256], format="triton", copy=True)
        for entry in bundle.manifest.files
        if entry.format == "triton" and entry.sha256 in found
    ]
    return (*found.values(), *copies)


def format_of(entry: FileEntry) -> str:
    """Return what `--formats` of the exporter calls a graph."""
    suffix = {"float16": "-fp16", "int8": "-int8"}.get(entry.precision or "float32", "")
    return f"{entry.format}{suffix}"


def _sum_up(name: str, runs: list[FoundGraph]) -> Graph:
    worst = min(runs, key=lambda one: WORST_FIRST.index(one.verdict))
    reduced = worst.reduced
    decisions = reduced.decisions if reduced else None
    ratios = [worst_ratio(one.comparisons) for one in runs]
    known = [ratio for ratio in ratios if ratio is not None]
    return Graph(
        format=name,
        precision=worst.precision,
        verdict=worst.verdict,
        ratio=max(known) if len(known) == len(ratios) else None,
        reason=worst.reason,
        drop=decisions.accuracy_drop if decisions else None,
        flip_share=decisions.flips / decisions.rows if decisions else None,
        sqnr_db=min(output.sqnr_db for output in reduced.outputs) if reduced else None,
    )
