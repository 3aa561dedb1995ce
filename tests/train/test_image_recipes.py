"""The image recipes of the notes: networks, settings, one epoch each, and the photos that the food recipes read."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from serve.preprocess import prepare_bytes
from train.augment import trivial_wide
from train.data import load_dataset
from train.dataset import DataError, Dataset, MissingDataError, Split, make_dataset
from train.device import DeviceChoice
from train.fit import fit
from train.food import read_food
from train.initialise import initialise
from train.loop import train
from train.models.fashion_v0 import FashionV0
from train.models.fashion_v1 import FashionV1
from train.models.food_tinyvgg import FoodTinyVGG
from train.models.improved_tinyvgg import ImprovedTinyVGG
from train.models.inputs import build_input
from train.models.softmax import SoftmaxScratch, softmax_regression
from train.models.tinyvgg import TinyVGG
from train.recipes.food import FOOD_PREPROCESSING
from train.recipes.recipe import Recipe
from train.recipes.registry import RECIPES
from train.run import build_network

TINYVGG_KEYS = ("conv_block_1.0", "conv_block_1.2", "conv_block_2.0", "conv_block_2.2", "classifier.1")
# parameters, layers of the state dict, batch size, epochs, optimizer, learning rate, initialisation
NOTES: dict[str, tuple[int, tuple[str, ...], int, int, str, float, str]] = {
    "fashion-softmax-scratch": (7_850, ("W", "b"), 256, 10, "sgd", 0.1, "default"),
    "fashion-softmax": (7_850, ("1",), 256, 10, "sgd", 0.1, "normal-0.01"),
    "fashion-softmax-1000": (7_850, ("1",), 256, 1000, "sgd", 0.1, "normal-0.01"),
    "fashion-mlp": (203_530, ("1", "3"), 256, 10, "sgd", 0.1, "normal-0.01"),
    "fashion-dropout-mlp": (269_322, ("1", "4", "7"), 256, 10, "sgd", 0.1, "normal-0.01"),
    "fashion-v0": (7_960, ("layer_stack.1", "layer_stack.2"), 32, 3, "sgd", 0.1, "default"),
    "fashion-v1": (7_960, ("layer_stack.1", "layer_stack.3"), 32, 3, "sgd", 0.1, "default"),
    "food-tinyvgg": (10_693, TINYVGG_KEYS, 32, 5, "adam", 0.001, "default"),
    "food-tinyvgg-augmented": (10_693, TINYVGG_KEYS, 32, 5, "adam", 0.001, "default"),
    "food-improved-tinyvgg": (1_313_847, ("conv1", "conv2", "fc1", "fc2"), 32, 5, "adam", 0.001, "default"),
}
EACH_RECIPE = pytest.mark.parametrize("name", list(NOTES))
IMAGE = {"channels": 1, "height": 28, "width": 28}
FOOD = {"channels": 3, "height": 64, "width": 64, "hidden_units": 10, "classes": 3}


class Silent:
    """Watches and says nothing."""

    def batch_done(self, epoch: int, totals: object, rows: int) -> None:
        pass

    def epoch_done(self, metrics: object) -> None:
        pass


def synthetic(recipe: Recipe, rows: int) -> Dataset:
    """Noise with one bright band, whose place tells the class."""
    height, width, channels = recipe.preprocessing.shape
    classes = len(recipe.labels)
    targets = np.arange(rows, dtype=np.int64) % classes
    images = np.random.default_rng(0).integers(0, 60, size=(rows, height, width, channels), dtype=np.uint8)
    for image, target in zip(images, targets, strict=True):
        image[:, target * width // classes : (target + 1) * width // classes] += 190
    split = Split(inputs=images, targets=targets)
    return make_dataset(recipe.data, split, split)


@EACH_RECIPE
def test_network_and_settings_are_those_of_the_notes(name: str) -> None:
    recipe = RECIPES[name]
    parameters, layers, batch_size, epochs, optimizer, learning_rate, initialisation = NOTES[name]
    network = build_network(recipe.factory, recipe.factory_args)
    assert sum(parameter.numel() for parameter in network.parameters()) == recipe.parameters == parameters
    scratch = name == "fashion-softmax-scratch"
    assert list(network.state_dict()) == (
        list(layers) if scratch else [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    )
    assert (recipe.batch_size, recipe.epochs, recipe.optimizer) == (batch_size, epochs, optimizer)
    assert (recipe.learning_rate, recipe.initialisation, recipe.seed) == (learning_rate, initialisation, 42)
    assert recipe.augmentation == ("trivial-wide" if name == "food-tinyvgg-augmented" else None)


@EACH_RECIPE
def test_one_epoch_teaches_every_parameter(name: str) -> None:
    recipe = replace(RECIPES[name], epochs=1, batch_size=10)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    initialise(network, recipe.initialisation)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    input_module = build_input(recipe.features, recipe.mean, recipe.std)
    [metrics] = train(network, input_module, synthetic(recipe, 30), recipe, watcher=Silent())
    assert metrics.test_loss < 3
    assert 0 <= metrics.test_top1_accuracy <= 1
    assert not [key for key, tensor in network.state_dict().items() if torch.equal(tensor, before[key])]


@pytest.mark.parametrize("name", ["fashion-softmax-scratch", "fashion-mlp"])
def test_more_epochs_find_the_band(name: str) -> None:
    recipe = replace(RECIPES[name], epochs=12, batch_size=10)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    initialise(network, recipe.initialisation)
    first, *_, last = train(
        network, build_input((), recipe.mean, recipe.std), synthetic(recipe, 60), recipe, watcher=Silent()
    )
    assert last.test_top1_accuracy > 0.9
    assert last.test_loss < first.test_loss


def test_softmax_begins_small_and_both_ways_are_one() -> None:
    torch.manual_seed(0)
    scratch, concise = SoftmaxScratch(**IMAGE, classes=10), softmax_regression(**IMAGE, classes=10)
    initialise(concise, "normal-0.01")
    for weight in (scratch.W, concise[1].weight):
        assert weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not scratch.b.any()
    assert concise[1].bias.any()
    concise.load_state_dict({"1.weight": scratch.W.T, "1.bias": scratch.b})
    pixels = torch.rand(5, 1, 28, 28)
    assert torch.allclose(scratch(pixels), concise(pixels), atol=1e-6)


def test_images_of_other_channels_are_no_more_rows() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        SoftmaxScratch(**IMAGE, classes=10)(torch.rand(1, 3, 28, 28))


def test_v0_is_linear_and_v1_is_not_and_ends_at_zero() -> None:
    torch.manual_seed(0)
    first, second, nothing = torch.rand(4, 1, 28, 28), torch.rand(4, 1, 28, 28), torch.zeros(4, 1, 28, 28)
    for model, linear in ((FashionV0, True), (FashionV1, False)):
        network = model(**IMAGE, hidden_units=10, classes=10)
        excess = network(first + second) + network(nothing) - network(first) - network(second)
        assert torch.allclose(excess, torch.zeros(4, 10), atol=1e-5) == linear
        assert (network(first).min() >= 0) != linear


def test_food_tinyvgg_is_tinyvgg_under_other_names() -> None:
    networks = []
    for model in (TinyVGG, FoodTinyVGG):
        torch.manual_seed(42)
        networks.append(model(**FOOD))
    pixels = torch.rand(2, 3, 64, 64)
    assert torch.equal(networks[0](pixels), networks[1](pixels))
    assert [tensor.numel() for tensor in networks[1].conv_block_1.parameters()] == [270, 10, 900, 10]


def test_improved_tinyvgg_fits_any_multiple_of_four() -> None:
    sizes = {32: 330_807, 64: 1_313_847}
    for side, parameters in sizes.items():
        network = ImprovedTinyVGG(**{**FOOD, "height": side, "width": side})
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        assert network(torch.rand(2, 3, side, side)).shape == (2, 3)
    assert ImprovedTinyVGG(**{**FOOD, "width": 32})(torch.rand(1, 3, 64, 32)).shape == (1, 3)
    with pytest.raises(ValueError, match="image size is 30x64, but both sides must be multiples of 4"):
        ImprovedTinyVGG(**{**FOOD, "height": 30})


@pytest.mark.parametrize("name", ["fashion-dropout-mlp", "food-improved-tinyvgg"])
def test_dropout_is_off_in_evaluation_alone(name: str) -> None:
    recipe = RECIPES[name]
    network = build_network(recipe.factory, recipe.factory_args)
    height, width, channels = recipe.preprocessing.shape
    pixels = torch.rand(4, channels, height, width)
    assert not torch.equal(network(pixels), network(pixels))
    network.eval()
    assert torch.equal(network(pixels), network(pixels))


# ---- augmentation


@pytest.mark.parametrize("channels", [1, 3])
def test_trivial_wide_varies_each_image_and_is_seeded(channels: int) -> None:
    one = np.random.default_rng(0).integers(0, 256, size=(1, 16, 16, channels), dtype=np.uint8)
    images = torch.from_numpy(np.repeat(one, 24, axis=0))
    before, state = images.clone(), torch.get_rng_state()
    first = trivial_wide(images, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(trivial_wide(images, torch.Generator().manual_seed(7)), first)
    assert not torch.equal(trivial_wide(images, torch.Generator().manual_seed(8)), first)
    assert torch.equal(images, before)
    assert (first.shape, first.dtype) == (images.shape, torch.uint8)
    assert len({image.numpy().tobytes() for image in first}) > 12


def test_trivial_wide_goes_on_from_batch_to_batch() -> None:
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    assert not torch.equal(trivial_wide(images, generator), trivial_wide(images, generator))


# ---- photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with two photos per class and split."""
    root = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("sushi", "pizza", "steak"):
            folder = root / "pizza_steak_sushi" / split / label
            folder.mkdir(parents=True)
            for index in (1, 0):
                pixels = chance.integers(0, 256, size=(80, 90 + index, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return root


@pytest.fixture
def root(photos: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may spoil."""
    shutil.copytree(photos, tmp_path / "root")
    return tmp_path / "root"


def test_photos_are_read_in_order_and_prepared_as_serving_does(photos: Path) -> None:
    dataset = load_dataset(RECIPES["food-tinyvgg"], photos)
    assert dataset.train.targets.tolist() == dataset.test.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.train.inputs.shape == (6, 64, 64, 3)
    file = photos / "pizza_steak_sushi" / "test" / "sushi" / "0.jpg"
    assert np.array_equal(dataset.test.inputs[4], prepare_bytes(file.read_bytes(), FOOD_PREPROCESSING))
    assert RECIPES["food-tinyvgg"].preprocessing == FOOD_PREPROCESSING
    assert np.array_equal(dataset.test.inputs, read_food(photos).test.inputs)


def rename(folder: Path) -> None:
    (folder / "test" / "sushi" / "1.jpg").rename(folder / "test" / "sushi" / "2.jpg")


def lengthen(folder: Path) -> None:
    with (folder / "train" / "pizza" / "0.jpg").open("ab") as file:
        file.write(b"\0")


def move(folder: Path) -> None:
    (folder / "test" / "sushi" / "1.jpg").rename(folder / "test" / "steak" / "2.jpg")


def hide(folder: Path) -> None:
    (folder / "train" / ".DS_Store").write_bytes(b"x")
    (folder / "train" / "pizza" / ".DS_Store").write_bytes(b"x")


@pytest.mark.parametrize(("change", "same"), [(rename, False), (lengthen, False), (move, False), (hide, True)])
def test_digest_is_over_names_and_bytes(change: Callable[[Path], None], same: bool, photos: Path, root: Path) -> None:
    change(root / "pizza_steak_sushi")
    assert (read_food(root).sha256 == read_food(photos).sha256) == same


def test_missing_photos_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError,
        match=r"pizza does not exist, but the photos of one class were expected there; unpack https://.*\.zip into "
        r".*pizza_steak_sushi, or give --data-root where pizza_steak_sushi is",
    ):
        read_food(tmp_path, download=False)


def test_an_empty_class_is_named(root: Path) -> None:
    folder = root / "pizza_steak_sushi" / "test" / "steak"
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(MissingDataError, match=r"steak is empty, but the photos of one class were expected; unpack"):
        read_food(root)


@pytest.mark.parametrize("name", ["train/pizza/notes.txt", "train/pizza/folder.jpg/x.jpg"])
def test_a_stray_file_is_named(name: str, root: Path) -> None:
    stray = root / "pizza_steak_sushi" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    with pytest.raises(DataError, match=r"(notes\.txt|folder\.jpg) is no photo, but only \.jpg, .* take it away"):
        read_food(root)


@pytest.mark.parametrize("name", ["test/salad/0.jpg", "test/photo.jpg"])
def test_a_stray_folder_or_file_beside_the_classes_is_named(name: str, root: Path) -> None:
    stray = root / "pizza_steak_sushi" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    with pytest.raises(DataError, match=r"(salad|photo\.jpg) is none of the folders pizza, steak, sushi; take it away"):
        read_food(root)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "image has 0 bytes"), (b"no image", "are no image in a known format")]
)
def test_an_unreadable_photo_is_named(content: bytes, reason: str, root: Path) -> None:
    (root / "pizza_steak_sushi" / "train" / "sushi" / "1.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"1\.jpg cannot be read: .*{reason}.*; replace it or take it away"):
        read_food(root)


# ---- order of the rows


def losses(recipe: Recipe, *, draws_between: int = 0) -> list[float]:
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.factory, recipe.factory_args)
    torch.rand(draws_between)
    input_module = build_input((), recipe.mean, recipe.std)
    return [
        metrics.train_loss for metrics in train(network, input_module, synthetic(recipe, 30), recipe, watcher=Silent())
    ]


def test_order_starts_from_the_seed_or_goes_on_after_the_network() -> None:
    again = replace(RECIPES["fashion-v0"], epochs=2, batch_size=10)
    onward = replace(again, seed_order=False)
    assert losses(again) == losses(again, draws_between=1)
    assert losses(onward) == losses(onward)
    assert losses(onward) != losses(onward, draws_between=1)
    assert losses(onward) != losses(again)
    assert not RECIPES["food-tinyvgg"].seed_order
    assert RECIPES["food-tinyvgg-augmented"].seed_order


# ---- real data


def real_food(data_root: Path) -> Dataset:
    if not (data_root / "pizza_steak_sushi").is_dir():
        pytest.skip("DATA_ROOT has no pizza_steak_sushi, so there are no real photos to test with")
    return read_food(data_root)


def test_real_photos_are_counted_as_in_the_notes(data_root: Path) -> None:
    dataset = real_food(data_root)
    assert np.bincount(dataset.train.targets).tolist() == [78, 75, 72]
    assert np.bincount(dataset.test.targets).tolist() == [25, 19, 31]


@pytest.mark.slow
def test_real_photos_are_all_called_what_the_notes_called_them(data_root: Path) -> None:
    real_food(data_root)
    choice = DeviceChoice(device=torch.device("cpu"), reason="asked for")
    fitted = fit(RECIPES["food-tinyvgg"], data_root=data_root, choice=choice, watcher=Silent())
    accuracies = [metrics.test_top1_accuracy for metrics in fitted.history]
    assert accuracies == [25 / 75, *[19 / 75] * 4]  # all pizza, then all steak: 0.260417 and 0.197917 as batch means


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accuracy", "train_loss"),
    [
        pytest.param("fashion-v0", 0.8343, 0.45503, id="fashion-v0"),
        pytest.param("fashion-v1", 0.7502, 0.67027, id="fashion-v1"),
        pytest.param("fashion-softmax", 0.84, None, id="fashion-softmax"),
        pytest.param("fashion-softmax-scratch", 0.84, None, id="fashion-softmax-scratch"),
    ],
)
def test_real_figures_are_those_of_the_notes(
    name: str, accuracy: float, train_loss: float | None, data_root: Path
) -> None:
    choice = DeviceChoice(device=torch.device("cpu"), reason="asked for")
    fitted = fit(RECIPES[name], data_root=data_root, choice=choice, watcher=Silent())
    last = fitted.history[-1]
    assert last.test_top1_accuracy == pytest.approx(accuracy, abs=0.01)
    if train_loss is not None:  # the notes' own training losses, to the digits that threads leave alone
        assert last.train_loss == pytest.approx(train_loss, abs=1e-3)
