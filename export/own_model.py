"""From a network of one's own to everything that its bundle is made of."""

import json
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.deployable import wrap
from export.draft import Draft
from export.errors import ExportError
from export.factory import Args
from export.golden_inputs import COSTLY, calibration_rows, choose_held_out, golden_tensors, rows_for
from export.held_tensors import check_eager
from export.own_inputs import InputSettings, OwnInputs, read_inputs
from export.own_outputs import OutputSettings, OwnOutputs, read_outputs
from export.samples import Samples, read_samples
from export.shared_weights import copy_sharing_weights
from export.work import flops_per_row
from serve.bundle import NAME, Provenance

NO_SAMPLES = "no samples were given, so the bundle proves itself on noise alone; give --samples"
_MIN_CALIBRATION = 32
_PROBED_ROWS = 4
_LIST = '["pizza", "steak", "sushi"]'
_MAX_LABELS_BYTES = 16 << 20
_ONE_A_LINE = "give a text file with one per line, in the order of the logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """What is known of a network, beside its module.

    Attributes:
        name: What it is called when it is served.
        factory: What builds it, as a bundle records it; empty for a module that was built in Python.
        factory_args: What the factory was called with.
        factory_sha256: Digest of its source file.
        samples: Where real inputs are.
        source: Where the weights are from, for people.
        build: Builds the network anew, in float32; None where nothing can.
    """

    name: str
    inputs: InputSettings
    outputs: OutputSettings = field(default_factory=OutputSettings)
    factory: str = ""
    factory_args: Args = field(default_factory=dict)
    factory_sha256: str | None = None
    samples: Path | None = None
    source: str = ""
    build: Callable[[], nn.Module] | None = None


def draft_of_network(network: nn.Module, own: OwnModel) -> tuple[Draft, tuple[str, ...]]:
    """Look at a network, run it on a few inputs, and say what its bundle is made of.

    Args:
        network: With its weights; it is not changed.
        own: What the user says of it.

    Returns:
        The draft, and sentences for people.

    Raises:
        ExportError: the network does not fit what the user says of it.
    """
    if not re.fullmatch(NAME, own.name):
        raise ExportError(f"--name is {own.name!r}, but only letters, digits, '.', '_' and '-' may stand in it")
    check_eager(network)
    inputs = read_inputs(own.inputs)
    samples = read_samples(own.samples, inputs, own.outputs.labels) if own.samples else None
    golden = partial(
        golden_tensors,
        inputs.specs,
        samples.inputs if samples else {},
        samples.class_index if samples else np.empty(0, dtype=np.int64),
        center=inputs.mean if inputs.features else (),
        spread=inputs.std if inputs.features else (),
    )
    network = copy_sharing_weights(network).cpu().float().eval()
    module = wrap(network, task="tensors", features=inputs.features, mean=inputs.mean, std=inputs.std)
    rows, class_index, kind = golden(counts=COSTLY)
    few = {name: values[:_PROBED_ROWS] for name, values in rows.items()}
    outputs = read_outputs(network, module.get_submodule("input_module"), few, own.outputs)
    row = tuple(torch.from_numpy(np.ascontiguousarray(values[:1])) for values in rows.values())
    if rows_for(flops_per_row(module, row)) != COSTLY:
        rows, class_index, kind = golden()
    draft = Draft(
        name=own.name,
        title=_title(own, outputs),
        task=outputs.task,
        labels=outputs.labels,
        module=wrap(network, task=outputs.task, features=inputs.features, mean=inputs.mean, std=inputs.std),
        weights=network.state_dict(),
        inputs=inputs.specs,
        outputs=outputs.specs,
        preprocessing=inputs.preprocessing,
        features=inputs.features,
        provenance=_provenance(own, inputs, samples),
        golden_inputs=rows,
        golden_class_index=class_index,
        golden_kind=kind,
        calibration=_calibration(samples) if samples else {},
        build=own.build,
    )
    notes = outputs.notes if samples else (*outputs.notes, NO_SAMPLES)
    if not inputs.mean:
        notes = (*notes, "tensors are taken as they are: whatever prepares them stays outside the graph")
    return draft, notes


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names: one per line, or a JSON list.

    Raises:
        ExportError: there is no such file, or it holds something else.
    """
    try:
        if path.stat().st_size > _MAX_LABELS_BYTES:
            raise ExportError(f"--labels {path} is too large for names; give a text file with one per line")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ExportError(
            f"--labels {path} cannot be read ({error.strerror}); give a file with one name per line"
        ) from error
    except UnicodeDecodeError as error:
        raise ExportError(
            f"--labels {path} is no text in UTF-8 ({error}); give a file with one name per line"
        ) from error
    if path.suffix == ".py":
        raise ExportError(f"--labels {path} is a program, but names of classes were expected; {_ONE_A_LINE}")
    if text.lstrip().startswith(("[", "{")):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise ExportError(f"--labels {path} is no valid JSON ({error}); give a list of names") from error
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ExportError(f"--labels {path} holds other JSON than a list of names; give one, such as {_LIST}")
    else:
        names = [line.strip() for line in text.splitlines()]
        while names and not names[-1]:
            names.pop()
        if "" in names:
            raise ExportError(
                f"--labels {path} has nothing in line {names.index('') + 1}, but a name in every line was expected, as "
                f"in its first, {next(filter(None, names))!r}; take that line out, or give the file of the names"
            )
    if not names:
        raise ExportError(f"--labels {path} is empty, but one name per line was expected")
    return tuple(names)


def _calibration(samples: Samples) -> dict[str, NDArray[Any]]:
    """Choose the rows that ranges are measured on: those that nothing is proven with, where there are enough."""
    every = np.arange(len(samples.class_index))
    others = np.setdiff1d(every, choose_held_out(samples.class_index))
    rows = others if len(others) >= _MIN_CALIBRATION else every
    return {name: calibration_rows(values[rows]) for name, values in samples.inputs.items()}


def _provenance(own: OwnModel, inputs: OwnInputs, samples: Samples | None) -> Provenance:
    return Provenance(
        recipe=None,
        factory=own.factory,
        factory_args=own.factory_args,
        factory_sha256=own.factory_sha256,
        mean=inputs.mean,
        std=inputs.std,
        seed=None,
        dataset=samples.name if samples else "",
        dataset_sha256=samples.sha256 if samples else "",
        device="cpu",
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        source_revision=None,
        training={"weights": own.source} if own.source else {},
    )


def _title(own: OwnModel, outputs: OwnOutputs) -> str:
    kind = {"tensors": "network", "regression": "regression"}.get(outputs.task, "classifier")
    return f"The {kind} {own.name}" + (f", built by {own.factory}" if own.factory else "")
