"""``python -m evaluate accuracy``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from evaluate.commands.options import ALL, BundlePath, chosen
from evaluate.commands.shared_options import FactoryName, JsonFile, Key, Provider, Trust
from evaluate.commands.targets import check_file
from evaluate.commands.written import report
from train.data_root import default_data_root

_LEAST_RESAMPLES = 100  # fewer leave two or three beyond either end of the interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Measure how right the eager module and every graph are: accuracy, calibration, or errors of a regression.

    On --samples, else on the recipe's test split, else on the labelled samples that the bundle carries. Every sample
    counts once, and every figure has a 95 % interval.
    """

    bundle: BundlePath
    """Directory that `python -m export` wrote."""
    samples: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Samples whose truth is known: images in sub-folders named like labels, a .csv or .parquet with a column label or
    one for each target, or an .npz with such arrays. All rows count."""
    data_root: Path = field(default_factory=default_data_root)
    """Where the recipe's data is (or DATA_ROOT)."""
    provider: Provider = "auto"
    graph: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="")] = ALL
    """Files of the graphs to run, such as graph.onnx; all of them unless given. The eager module always runs."""
    batch_mean: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Also print the mean of the accuracies of batches of N, which the source notes report."""
    robustness: bool = False
    """Also run images that are spoilt by noise, blur, brightness, JPEG and rotation; at most 2,000 of them."""
    pictures: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Also draw confusions, reliability and robustness, or predictions of a regression, as PNG files in this folder."""
    resamples: int = 1000
    """Resamples of the bootstrap."""
    seed: int = 0
    """Decides the resamples, and how images are spoilt."""
    factory: FactoryName = None
    trust: Trust = False
    require_signature: Key = None
    json: JsonFile = None


def run_accuracy(command: Accuracy) -> int:
    """Measure, print, draw.

    Raises:
        AccuracyError: what was asked for makes no sense, or cannot be written.
    """
    from evaluate.trust import read_trusted

    _check(command)
    bundle = read_trusted(command.bundle, trust=command.trust, public_key=command.require_signature)

    from rich.status import Status

    from evaluate.tables import stderr_console

    with Status("loading torch", console=stderr_console()) as status:
        from evaluate.accuracy.measure import figures_of
        from evaluate.accuracy.run import check_request, run_samples
        from export.factory import load_factory

        check_request(
            bundle,
            graphs=chosen("--graph", command.graph, "graph.onnx"),
            batch_size=command.batch_mean,
            robustness=command.robustness,
        )
        outcomes = run_samples(
            bundle,
            data_root=command.data_root,
            samples=command.samples,
            provider=command.provider,
            graphs=chosen("--graph", command.graph, "graph.onnx"),
            factory=None if command.factory is None else load_factory(command.factory),
            on_step=status.update,
        )
        accuracy = figures_of(
            outcomes,
            batch_size=command.batch_mean,
            robustness=command.robustness,
            resamples=command.resamples,
            seed=command.seed,
            on_step=status.update,
        )

    from evaluate.accuracy.table import print_accuracy

    report(accuracy, print_accuracy, command.json)
    if command.pictures is not None:
        from evaluate.accuracy.charts import draw_all
        from train.whole_file import write_whole

        for name, content in draw_all(accuracy, outcomes):
            write_whole(command.pictures / name, content)
    return 0


def _check(command: Accuracy) -> None:
    """Refuse before the samples are run what would fail after them."""
    from evaluate.accuracy.trouble import AccuracyError

    check_file("--json", command.json)
    chosen("--graph", command.graph, "graph.onnx")
    if command.resamples < _LEAST_RESAMPLES:
        raise AccuracyError(
            f"--resamples is {command.resamples}, but an interval needs at least {_LEAST_RESAMPLES}; leave it out"
        )
    if command.seed < 0:
        raise AccuracyError(f"--seed is {command.seed}, but seeds are 0 or greater; leave it out")
    if command.batch_mean is not None and command.batch_mean < 1:
        raise AccuracyError(f"--batch-mean is {command.batch_mean}, but batches have at least 1 sample; give 32")
    if command.pictures is not None:
        try:
            command.pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AccuracyError(
                f"--pictures is {command.pictures}, but no folder can be made there ({error.strerror}); give another"
            ) from error
