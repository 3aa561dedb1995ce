"""Drawing any kind of picture of any recipe or run: what the command, a script and a notebook call."""

from collections.abc import Callable
from pathlib import Path

from train.pictures import of_recipes, of_runs
from train.pictures.kinds import Kind, check_kind
from train.pictures.picture import Picture
from train.pictures.request import Request
from train.pictures.subject import find_subject

DRAW: dict[Kind, Callable[[Request], Picture]] = {
    "samples": of_recipes.draw_samples,
    "augmented": of_recipes.draw_augmented,
    "layers": of_recipes.draw_layers,
    "curves": of_runs.draw_curves,
    "boundary": of_runs.draw_boundary,
    "fit": of_runs.draw_fit,
    "predictions": of_runs.draw_predictions,
    "errors": of_runs.draw_errors,
    "confusion": of_runs.draw_confusion,
    "probabilities": of_runs.draw_probabilities,
}


def draw(
    kind: Kind, subject: str | Path, *, image: Path | str | None = None, data_root: Path | None = None, seed: int = 42
) -> Picture:
    """Draw a picture.

    Args:
        kind: What to draw.
        subject: A recipe's name or a run's directory.
        image: An image file of your own, for ``probabilities``.
        data_root: Where the data is; by default where a run read it.
        seed: Decides which samples are drawn; equal seeds give equal pictures.

    Raises:
        PictureError: the kind does not fit the subject, or there is no such subject.
        RunError: the run is malformed.
        DataError: the data is missing or damaged.
    """
    found = find_subject(str(subject), data_root)
    check_kind(kind, found.name, found.spec, trained=found.run is not None)
    return DRAW[kind](Request(subject=found, seed=seed, image=None if image is None else Path(image)))
