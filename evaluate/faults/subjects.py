"""What faults are planted in: networks of every kind with their inputs, and weights from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evaluate.zoo.pictures import draw_pictures
from export.deployable import input_specs, output_specs, wrap
from export.factory import Args, load_factory
from export.factory import build_module as build_module_of
from export.module_runner import ModuleRunner
from serve.bundle import Feature, ImagePreprocessing, Task, TensorSpec
from train.recipes.registry import find_recipe
from train.run import MODELS, build_network

ROWS = 192
_RECIPES = ("digits", "fashion-tinyvgg", "fashion-dropout-mlp", "circles-v2", "blobs", "house-prices")
_CLASSES = tuple(f"class {index}" for index in range(10))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MLP: Args = {"channels": 1, "height": 16, "width": 16, "hidden_units": 64, "classes": 10}
_MLP |= {"dropout_1": 0.2, "dropout_2": 0.5}
_NORMS = (nn.BatchNorm2d, nn.LayerNorm)
_MISSING_SHARE = 0.2
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One architecture.

    Attributes:
        name: What tables call it.
        kind: In a word or two, for people.
        task: What its outputs mean.
        labels: Its classes or targets.
        factory: Builds the network, ``package.module:callable``.
        factory_args: What it is called with.
        preprocessing: Of images; None of a table.
        features: Of a table.
        mean: As for `train.models.inputs.build_input`.
        std: The same.
    """

    name: str
    kind: str
    task: Task
    labels: tuple[str, ...]
    factory: str
    factory_args: Args
    preprocessing: ImagePreprocessing | None = None
    features: tuple[Feature, ...] = ()
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def is_recipes(self) -> bool:
        """Whether its network is one of this project's models, which a bundle may name without anybody's help."""
        return self.factory.startswith(MODELS + ".")

    def build(self) -> nn.Module:
        """Build the network; draws from torch's global generator."""
        if self.is_recipes:
            return build_network(self.factory, self.factory_args)
        return build_module_of(load_factory(self.factory), self.factory_args)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What its graphs take."""
        return input_specs(self.preprocessing, self.features)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What its graphs give."""
        return output_specs(self.task, self.labels)


def subjects() -> dict[str, Subject]:
    """Return all subjects by name: four of our own, which together hold every sort of layer, and some recipes."""
    image = partial(ImagePreprocessing, height=16, width=16)
    table = (*(Feature(name=f"x{index}", optional=index == 0) for index in range(5)),)
    table = (*table, Feature(name="kind", categories=("a", "b", "c"), optional=True))
    own = (
        Subject(
            name="cnn",
            kind="convolutions",
            task="classification",
            labels=_CLASSES,
            factory="evaluate.faults.networks:ConvNet",
            factory_args={"classes": 10},
            preprocessing=image(color="RGB"),
            mean=_MEAN,
            std=_STD,
        ),
        Subject(
            name="mlp",
            kind="perceptron",
            task="classification",
            labels=_CLASSES,
            factory="train.models.mlp:dropout_mlp",
            factory_args=_MLP,
            preprocessing=image(color="L"),
            mean=(0.4,),
            std=(0.3,),
        ),
        Subject(
            name="transformer",
            kind="transformer",
            task="classification",
            labels=_CLASSES,
            factory="evaluate.faults.networks:Transformer",
            factory_args={"classes": 10},
            preprocessing=image(color="RGB"),
            mean=_MEAN,
            std=_STD,
        ),
        Subject(
            name="table",
            kind="table, regression",
            task="regression",
            labels=("price", "days"),
            factory="evaluate.faults.networks:TableNet",
            factory_args={"columns": 9, "targets": 2},
            features=table,
            mean=(3.0, -1.0, 0.5, 20.0, 0.1, 0.0),
            std=(2.0, 0.5, 1.0, 12.0, 0.05, 1.0),
        ),
    )
    return {subject.name: subject for subject in (*own, *map(_of_recipe, _RECIPES))}


def _of_recipe(name: str) -> Subject:
    recipe = find_recipe(name)
    return Subject(
        name=name,
        kind=f"recipe, {recipe.task}",
        task=recipe.task,
        labels=recipe.labels,
        factory=recipe.factory,
        factory_args=recipe.factory_args,
        preprocessing=recipe.preprocessing,
        features=recipe.features,
        mean=recipe.mean,
        std=recipe.std,
    )


def draw_samples(subject: Subject, *, seed: int) -> dict[str, NDArray[Any]]:
    """Draw what stands for held-out samples: pictures, or rows of a table."""
    (spec,) = subject.inputs
    if subject.preprocessing is not None:
        height, width, channels = subject.preprocessing.shape
        pictures = draw_pictures(ROWS, side=max(height, width), seed=seed)[:, :height, :width]
        return {spec.name: pictures[..., :channels].copy()}
    rng = np.random.default_rng(seed)
    rows = rng.normal(subject.mean, subject.std, size=(ROWS, len(subject.features)))
    for column, feature in enumerate(subject.features):
        if feature.categories:
            rows[:, column] = rng.integers(0, len(feature.categories), size=ROWS)
        if feature.optional:
            rows[rng.random(ROWS) < _MISSING_SHARE, column] = np.nan
    return {spec.name: rows.astype(np.float32)}


def build_module(subject: Subject, samples: Mapping[str, NDArray[Any]], *, scale: float, seed: int) -> nn.Module:
    """Build the deployable module of a subject, with weights from a seed.

    What a fresh network holds constant is drawn, so that every part shows in the outputs: scales and shifts of
    normalisations, and their statistics, which are measured on the samples.

    Args:
        subject: The architecture.
        samples: Inputs, as `draw_samples` gives them.
        scale: Standard deviation of its logits or predictions on the samples: the last layer is scaled to that.
        seed: Decides the weights.
    """
    torch.manual_seed(seed)
    network = subject.build()
    norms = [part for part in network.modules() if isinstance(part, _NORMS)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.mul_(1 + _SPREAD * torch.randn_like(norm.weight))
            norm.bias.copy_(_SPREAD * torch.randn_like(norm.bias))
        module = wrap(network, task=subject.task, features=subject.features, mean=subject.mean, std=subject.std)
        batches = [norm for norm in norms if isinstance(norm, nn.BatchNorm2d)]
        for norm in batches:
            norm.train()
            norm.momentum = 1.0
        _first_output(module, subject, samples)
        module.eval()
        last = last_linear(network)
        first = _first_output(module, subject, samples)
        spread = float(first.std(axis=0).max())
        last.weight *= scale / spread
        last.bias.copy_((last.bias - torch.from_numpy(first.mean(axis=0))) * (scale / spread) + _SPREAD * scale)
    return module


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the layer that makes the outputs."""
    return [part for part in network.modules() if isinstance(part, nn.Linear)][-1]


def runner_of(module: nn.Module, subject: Subject) -> ModuleRunner:
    """Return a runner of a torch module with a subject's names."""
    return ModuleRunner(
        module,
        inputs=tuple(spec.name for spec in subject.inputs),
        outputs=tuple(spec.name for spec in subject.outputs),
    )


def _first_output(module: nn.Module, subject: Subject, samples: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    first: NDArray[np.float32] = runner_of(module, subject).run(samples)[subject.outputs[0].name]
    return first
