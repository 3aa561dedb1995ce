"""The studies by name; each module is imported only when its study is carried out."""

import importlib
from pathlib import Path
from typing import Protocol, cast

from train.studies.result import StudyResult


class StudyError(ValueError):
    """A study that does not exist."""


class StudyModule(Protocol):
    """A module that holds one study."""

    def carry_out(self, *, quick: bool, data_root: Path) -> StudyResult:
        """Measure; the quick form takes about a second and shows the same in small."""


# What each one asks; the module is named like the study, with underscores.
STUDIES: dict[str, str] = {
    "huber": "Is Huber's loss slower and more stable than the squared loss?",
    "reduction": "Which learning rate does a summed loss need?",
    "weight-decay": "What does weight decay do to the norm of the weights, and to the test loss?",
    "initialisation": "Which beginnings of the weights can be trained from?",
    "vectorise": "How much faster is one operation on the whole than a loop over its elements?",
    "polynomial": "When does a polynomial underfit, and when does it overfit?",
    "k-fold": "How well do K folds estimate the test loss of few rows?",
    "dropout": "Does dropout narrow the gap to the test, and can it tell doubt?",
    "epochs": "After how many epochs does the test accuracy fall?",
    "dataloader": "What makes reading images faster: batches, workers, resizing beforehand, or memory?",
}


def carry_out(name: str, *, quick: bool, data_root: Path) -> StudyResult:
    """Carry out a study.

    Args:
        name: One of ``STUDIES``.
        quick: Whether fewer rows, seeds and epochs are enough.
        data_root: Where data sets lie, for the studies that read one.

    Raises:
        StudyError: there is no study of that name.
        DataError: the data is missing or damaged.
    """
    check_name(name)
    import torch

    module = cast("StudyModule", importlib.import_module(f"train.studies.{name.replace('-', '_')}"))
    # networks this small gain nothing from threads, and one thread gives everyone the same numbers
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return module.carry_out(quick=quick, data_root=data_root)
    finally:
        torch.set_num_threads(threads)


def check_name(name: str) -> None:
    """Raise StudyError where there is no study of that name."""
    if name not in STUDIES:
        raise StudyError(f"study {name!r} does not exist, but one of {', '.join(STUDIES)} was expected")
