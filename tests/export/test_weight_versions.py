"""Weights keep the version of the format that they were saved in."""

from pathlib import Path

import pytest
import torch
from torch import nn

from export.weights import load_weights, read_weights


class Versioned(nn.Linear):
    """Loads only what says in which version of its format it was saved, as MNASNet does; version 1 was upside down."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest) -> None:
        version = local_metadata.get("version")
        if version not in {1, 2}:
            raise ValueError(f"version should be set to 1 or 2 instead of {version}")
        if version == 1:
            state_dict[prefix + "bias"] = -state_dict[prefix + "bias"]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@pytest.mark.parametrize(("version", "sign"), [(2, 1), (1, -1)])
def test_the_version_of_a_format_is_kept(version: int, sign: int, tmp_path: Path) -> None:
    saved = nn.Sequential(Versioned(3, 2))
    state = saved.state_dict()
    state._metadata["0"]["version"] = version
    torch.save(state, tmp_path / "net.pth")
    network = nn.Sequential(Versioned(3, 2))
    load_weights(network, read_weights(tmp_path / "net.pth"), source="net.pth")
    torch.testing.assert_close(network[0].bias, sign * saved[0].bias)


def test_weights_without_a_version_are_of_the_networks_own(tmp_path: Path) -> None:
    saved = nn.Sequential(Versioned(3, 2))
    torch.save(dict(nn.DataParallel(saved).state_dict()), tmp_path / "net.pth")
    network = nn.Sequential(Versioned(3, 2))
    load_weights(network, read_weights(tmp_path / "net.pth"), source="net.pth")
    torch.testing.assert_close(network[0].weight, saved[0].weight)
