import pytest

from train.extra import explain_missing


def test_a_package_of_the_extra_is_named_with_the_remedy() -> None:
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert explain_missing(error) == (
        "torch is not installed, but this command needs it; pip install 'facsimile[train]'"
    )


def test_any_other_missing_module_is_a_fault_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'train\.nothing'"):
        explain_missing(ModuleNotFoundError("No module named 'train.nothing'", name="train.nothing"))
