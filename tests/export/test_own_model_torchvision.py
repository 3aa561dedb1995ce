"""torchvision's networks by name: their weights' own preprocessing and labels. Nothing is downloaded here."""

import hashlib
import io
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models._api import WeightsEnum

from export.errors import ExportError
from export.from_factory import draft_of_factory
from tests.export import own_files
from tests.export.own_files import command

SQUEEZENET = "torchvision.models:squeezenet1_1"
NAMES = "DEFAULT, IMAGENET1K_V1"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return own_files.place(tmp_path)


def publish(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a file into torch.hub's cache where torchvision looks for weights, under the name that its hash gives it."""
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setenv("TORCH_HOME", str(path))
    monkeypatch.setattr(WeightsEnum, "url", f"file:///published/{name}")
    cached = path / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    return cached


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights that stand for the published ones; torch.hub reads them itself."""
    torch.manual_seed(0)
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, content := io.BytesIO())
    publish(tmp_path / "cache", content.getvalue(), monkeypatch)
    return state


class Harm:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("ran", "w")


@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1"])
def test_weights_by_name_bring_preprocessing_and_labels(name: str, published: dict[str, torch.Tensor]) -> None:
    draft, _ = draft_of_factory(command(SQUEEZENET, name, labels=None, inputs=()))
    assert draft.preprocessing.shape == (224, 224, 3)
    assert (draft.preprocessing.fit, draft.preprocessing.resize) == ("crop", 256)
    assert draft.provenance.mean == (0.485, 0.456, 0.406)
    assert (len(draft.labels), draft.labels[0], len(set(draft.labels))) == (1000, "tench", 1000)
    assert draft.provenance.training == {"weights": "IMAGENET1K_V1"}
    assert draft.name == "squeezenet1_1"
    for key, value in published.items():
        assert torch.equal(draft.weights[key], value)


def test_a_file_may_take_over_a_presets_preprocessing_with_labels_of_its_own(here: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None, num_classes=3).state_dict(), "food.pth")
    draft, _ = draft_of_factory(
        command(SQUEEZENET, "food.pth", args=("num_classes=3",), preset="IMAGENET1K_V1", inputs=())
    )
    assert draft.labels == ("pizza", "steak", "sushi")
    assert (draft.preprocessing.resize, draft.provenance.mean[0]) == (256, 0.485)
    smaller, _ = draft_of_factory(
        command(SQUEEZENET, "food.pth", args=("num_classes=3",), preset="IMAGENET1K_V1", inputs=(), resize=72, crop=64)
    )
    assert (smaller.preprocessing.shape, smaller.preprocessing.resize) == ((64, 64, 3), 72)


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_what_torchvision_sets_with_its_weights_is_set_without_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = getattr(torchvision.models, name)
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, **_: tensor)  # seconds, for weights that are replaced
    torch.manual_seed(0)
    state = build(weights=None, init_weights=False, aux_logits=True).state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
    expected = build(weights="DEFAULT", progress=False).eval()
    draft, _ = draft_of_factory(command(f"torchvision.models:{name}", "DEFAULT", labels=None, inputs=()))
    assert draft.provenance.factory_args["transform_input"] is True
    images = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        assert torch.equal(draft.module.get_submodule("network")(images), expected(images))


@pytest.mark.parametrize(
    ("factory", "weights", "preset", "message"),
    [
        pytest.param(
            SQUEEZENET,
            "IMAGENET1K_V7",
            None,
            f"squeezenet1_1 has no weights IMAGENET1K_V7, but one of {NAMES}, or a file, was expected",
            id="no such weights",
        ),
        pytest.param("net.py:Net", "IMAGENET1K_V1", None, "--weights IMAGENET1K_V1 does not exist, but a", id="own"),
        pytest.param(
            "net.py:Net", "net.pth", "DEFAULT", r"net\.py:Net is no factory of torchvision\.models", id="own preset"
        ),
        pytest.param(
            "torchvision.models.segmentation:lraspp_mobilenet_v3_large",
            "DEFAULT",
            None,
            "bring SemanticSegmentation, but only the preprocessing of image classification",
            id="segmentation",
        ),
    ],
)
def test_weights_that_torchvision_does_not_have(
    factory: str, weights: str, preset: str | None, message: str, here: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        draft_of_factory(command(factory, weights, preset=preset, labels=None, inputs=()))


def test_a_cached_file_with_another_hash_is_refused(
    published: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cached,) = (tmp_path / "cache" / "hub" / "checkpoints").iterdir()
    torch.save(Harm(), cached)
    with pytest.raises(ExportError, match=r"squeezenet1_1-\w{8}\.pth has sha256 \w{16}…, but its name says \w{8}…"):
        draft_of_factory(command(SQUEEZENET, "DEFAULT", labels=None, inputs=()))
    assert not (tmp_path / "ran").exists()


def test_published_weights_run_nothing_even_where_their_hash_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(Harm(), content := io.BytesIO())
    publish(tmp_path / "cache", content.getvalue(), monkeypatch)
    with pytest.raises(ExportError, match="hold something else than tensors, and reading that would run code"):
        draft_of_factory(command(SQUEEZENET, "DEFAULT", labels=None, inputs=()))
    assert not (tmp_path / "ran").exists()


def test_without_a_network_it_is_said_how_to_go_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_state_dict(self: WeightsEnum, **_: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
    with pytest.raises(
        ExportError,
        match=r"cannot be downloaded \(no route to host\); .* --weights FILE --preset IMAGENET1K_V1",
    ):
        draft_of_factory(command(SQUEEZENET, "DEFAULT", labels=None, inputs=()))
