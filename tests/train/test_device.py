"""The device: what was asked for or a clear refusal, never another one in silence."""

import re

import pytest
import torch

from train.device import DeviceError, choose_device


def test_cpu_is_always_there() -> None:
    choice = choose_device("cpu")
    assert (str(choice.device), choice.reason) == ("cpu", "asked for")


def test_auto_takes_the_fastest_and_says_why() -> None:
    choice = choose_device("auto")
    if torch.cuda.is_available():
        assert choice.device.type == "cuda"
        assert torch.cuda.get_device_name() in choice.reason
    elif torch.backends.mps.is_available():
        assert choice.device.type == "mps"
    else:
        assert choice.device.type == "cpu"
        assert re.fullmatch(r"no cuda: .*; no mps: .*", choice.reason)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_device_that_is_not_there_is_refused(name: str) -> None:
    there = torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()
    if there:
        assert choose_device(name).device.type == name  # type: ignore[arg-type]
        return
    with pytest.raises(DeviceError, match=rf"device {name} was asked for, but .*; give --device auto or --device cpu"):
        choose_device(name)  # type: ignore[arg-type]
