"""What a small bundle is made of: a line through a table of houses, with weights from a seed."""

import numpy as np
import torch
from torch import nn

from export.deployable import input_specs, output_specs, wrap
from export.draft import Draft
from export.golden_inputs import golden_features
from serve.bundle import Feature, Provenance

FEATURES = (Feature(name="rooms"), Feature(name="area"))


def draft_of_line(
    seed: int,
    *,
    features: tuple[Feature, ...] = FEATURES,
    table: np.ndarray | None = None,
    columns: int = 2,
    mean: tuple[float, ...] = (0.0, 0.0),
) -> Draft:
    """Make a draft of a regression; the network takes so many columns, as each category and each gap is one of them."""
    torch.manual_seed(seed)
    network = nn.Linear(columns, 1)
    rows = torch.rand(4, len(features)).numpy() if table is None else table
    golden, class_index, kind = golden_features(rows, np.full(len(rows), -1), features)
    std = (1.0,) * len(features)
    return Draft(
        name="houses",
        title="House prices",
        task="regression",
        labels=("price",),
        module=wrap(network, task="regression", features=features, mean=mean, std=std),
        weights=network.state_dict(),
        inputs=input_specs(None, features),
        outputs=output_specs("regression", ("price",)),
        preprocessing=None,
        features=features,
        provenance=Provenance(
            recipe=None,
            factory="torch.nn:Linear",
            factory_args={"in_features": columns, "out_features": 1},
            mean=mean,
            std=std,
            seed=seed,
            dataset="houses",
            dataset_sha256="0" * 64,
            device="cpu",
            versions={},
            source_revision=None,
        ),
        golden_inputs={"features": golden},
        golden_class_index=class_index,
        golden_kind=kind,
    )
