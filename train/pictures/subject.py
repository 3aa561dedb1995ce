"""What a picture is of: a recipe or a run, with its data and its network."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from train.data import load_dataset
from train.data_root import default_data_root
from train.dataset import Dataset
from train.initialise import initialise
from train.models.inputs import build_input
from train.pictures.kinds import recipe_named
from train.pictures.picture import PictureError
from train.recipe_of_run import data_root_of, recipe_of_run
from train.recipes.recipe import Recipe
from train.run import RECORD, Run, build_network, load_network, read_run
from train.validation import set_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A recipe, or a run of one.

    Attributes:
        name: What it is called in titles and file names.
        recipe: The recipe; None for a run of one that this version does not have.
        run: The run's record, or None.
        path: The run's directory, or None.
        data_root: Where the data is; None for where the run read it.
    """

    name: str
    recipe: Recipe | None
    run: Run | None = None
    path: Path | None = None
    data_root: Path | None = None

    @property
    def spec(self) -> Recipe | Run:
        """Return the run, else the recipe."""
        spec = self.run or self.recipe
        assert spec is not None  # noqa: S101 - find_subject makes none without both
        return spec


def find_subject(name: str, data_root: Path | None = None) -> Subject:
    """Return the run whose directory is named, else the recipe.

    Raises:
        PictureError: there is neither.
        RunError: the run's record is malformed.
    """
    path = Path(name)
    if not (path / RECORD).is_file():
        return Subject(name=name, recipe=recipe_named(name), data_root=data_root)
    run = read_run(path)
    return Subject(name=path.resolve().name, recipe=recipe_of_run(run), run=run, path=path, data_root=data_root)


def read_data(subject: Subject) -> Dataset:
    """Read the data of a recipe, or the very data of a run: without the rows that were set aside from training.

    Raises:
        DataError: it is missing or damaged.
        PictureError: it is not what the run was trained on, or the run's recipe does not exist.
    """
    run, recipe = subject.run, subject.recipe
    if run is None and recipe is not None:
        return load_dataset(recipe, subject.data_root or default_data_root())
    if run is None or recipe is None:
        known = None if run is None else run.recipe
        raise PictureError(f"{subject.path} was trained from recipe {known}, which does not exist; train again")
    dataset = load_dataset(
        replace(recipe, preprocessing=run.preprocessing), data_root_of(run, subject.data_root), download=False
    )
    if dataset.sha256 != run.data.sha256:
        raise PictureError(
            f"{run.data.name} has sha256 {dataset.sha256[:12]}…, but {subject.path} was trained on "
            f"{run.data.sha256[:12]}…; give the --data-root it was trained from, or train again"
        )
    if not run.validation:
        return dataset
    return replace(dataset, train=set_aside(dataset.train, run.validation, seed=run.seed)[0])


def load_model(subject: Subject) -> tuple[nn.Module, nn.Module]:
    """Return the network, with a run's weights or as a recipe begins, and its input module; on the CPU.

    Raises:
        RunError: the weights are missing or do not fit.
    """
    spec = subject.spec
    input_module = build_input(spec.features, spec.mean, spec.std)
    with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
        if subject.run is not None and subject.path is not None:
            return load_network(subject.path, subject.run), input_module
        torch.manual_seed(spec.seed)
        network = build_network(spec.factory, spec.factory_args)
        initialise(network, spec.initialisation)
    return network.eval(), input_module
