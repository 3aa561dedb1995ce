"""`python -m train show KIND SUBJECT`: everything people look at, as a picture."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.commands.trouble import trouble
from train.extra import explain_missing
from train.pictures.kinds import Kind, check_kind, recipe_named
from train.pictures.picture import PictureError, check_name
from train.threads import limit_spinning


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCommand:
    """Draw what people look at: of a recipe (samples, augmented, layers), or of a run (all of them).

    The same is said in words on stdout. Exit 0: drawn; 2: trouble, in one sentence.
    """

    kind: Annotated[Kind, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]
    """What to draw."""

    subject: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE|RUN")]
    """A name from `python -m train list`, or a run directory."""

    image: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of `probabilities`: an image of your own, instead of a test sample."""

    data_root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where data sets lie; $DATA_ROOT where that is set, else where a run read its data, else data."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The PNG to write; pictures/KIND-SUBJECT.png unless given. An earlier one is replaced."""

    seed: int = 42
    """Decides which samples are drawn."""


def show(command: ShowCommand) -> int:
    """Draw; return the exit code."""
    try:
        _check(command)
    except PictureError as error:
        return trouble(error)
    limit_spinning()
    try:
        from train.dataset import DataError
        from train.pictures.draw import draw
        from train.run import RunError

        try:
            root = command.data_root or (Path(os.environ["DATA_ROOT"]) if os.environ.get("DATA_ROOT") else None)
            picture = draw(command.kind, command.subject, image=command.image, data_root=root, seed=command.seed)
            out = command.out or Path("pictures") / f"{command.kind}-{Path(command.subject).resolve().name}.png"
            picture.write(out)
        except (PictureError, DataError, RunError) as error:
            return trouble(error)
    except ModuleNotFoundError as error:
        return trouble(explain_missing(error))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(picture)
    print(f"picture: {out}", file=sys.stderr)
    return 0


def _check(command: ShowCommand) -> None:
    """Refuse what can be refused before torch is imported."""
    if not 0 <= command.seed < 2**63:
        raise PictureError(f"--seed is {command.seed}, but a number from 0 to 2**63 - 1 was expected")
    if command.image is not None and command.kind != "probabilities":
        raise PictureError(f"--image was given, but {command.kind} takes none; show probabilities, or leave it out")
    if command.out is not None:
        check_name(command.out)
    if not Path(command.subject).is_dir():
        check_kind(command.kind, command.subject, recipe_named(command.subject), trained=False)
