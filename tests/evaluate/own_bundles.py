"""Bundles of networks that are no recipe's, written as `python -m export --factory` writes them."""

from pathlib import Path

import numpy as np
import torch
from own_networks import RootOfSignal, TwoInputs, TwoOutputs
from torch import nn

from export.factory import load_factory
from export.own_inputs import InputSettings
from export.own_model import OwnModel, draft_of_network
from export.own_outputs import OutputSettings
from export.write import write_bundle

NETWORKS = Path(__file__).with_name("own_networks.py")
ROWS = 100
FORMATS = ("onnx", "torchscript", "exported-program")


def samples_of(name: str, folder: Path, *, labelled: bool = False) -> Path:
    """Write real inputs of a network as .npz; their labels are what the network itself says."""
    rng = np.random.default_rng(5)
    arrays = {
        "TwoInputs": {
            "tokens": rng.integers(0, 20, size=(ROWS, 5)),
            "grid": rng.normal(size=(ROWS, 2, 3)).astype(np.float32),
        },
        "TwoOutputs": {"signal": rng.normal(size=(ROWS, 2, 9)).astype(np.float32)},
        "RootOfSignal": {"size": rng.uniform(1, 9, size=(ROWS, 2, 2)).astype(np.float32)},
    }[name]
    path = folder / f"{name}.npz"
    if labelled:
        with torch.no_grad():
            logits = trained(name)(*(torch.from_numpy(values) for values in arrays.values()))
        arrays["label"] = logits.argmax(dim=1).numpy()
    np.savez(path, **arrays)
    return path


def trained(name: str) -> nn.Module:
    """Build a network; its weights are chance, which is as good as any for comparing."""
    torch.manual_seed(3)
    network = {"TwoInputs": TwoInputs, "TwoOutputs": TwoOutputs, "RootOfSignal": RootOfSignal}[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= parameter.mean()  # so that no class wins everywhere
            parameter *= 2
    return network.eval()


def write_own_bundle(
    name: str, folder: Path, *, samples: bool = True, formats: tuple[str, ...] = FORMATS, labelled: bool = False
) -> Path:
    """Write the bundle of one network into a folder."""
    inputs = {
        "TwoInputs": ("tokens:int64[5]", "grid:float32[2,3]"),
        "TwoOutputs": ("signal:float32[2,9]",),
        "RootOfSignal": ("size:float32[2,2]",),
    }[name]
    factory = load_factory(f"{NETWORKS}:{name}")
    own = OwnModel(
        name=name,
        inputs=InputSettings(inputs=inputs),
        outputs=OutputSettings(labels=("red", "green", "blue") if name == "TwoInputs" else ()),
        factory=factory.name,
        factory_sha256=factory.sha256,
        samples=samples_of(name, folder, labelled=labelled) if samples else None,
    )
    draft, _ = draft_of_network(trained(name), own)
    target = folder / name
    write_bundle(target, draft, formats=formats)
    return target
