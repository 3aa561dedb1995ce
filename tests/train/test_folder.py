"""Folders of one's own images: what is read and held out, which networks there are, and every sentence of refusal."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve.preprocess import prepare_bytes
from train import image_folder
from train.commands.folder import FolderCommand
from train.data import load_dataset
from train.dataset import DataError, Dataset, MissingDataError
from train.folder_listing import list_image_folder
from train.folder_recipe import FolderChoices, folder_recipe, recipe_name
from train.image_folder import find_folder
from train.image_models import IMAGE_MODELS
from train.recipe_of_run import count_parameters
from train.recipes.recipe import ImageFolder, RecipeError


def draw(file: Path, shade: int, size: tuple[int, int] = (20, 16)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(shade).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """CLASS/*.png: ten cats, five dogs."""
    for index in range(15):
        draw(tmp_path / "pets" / ("cat" if index < 10 else "dog") / f"{index:02}.png", index)
    return tmp_path / "pets"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """{train,test}/CLASS/*.jpg."""
    for index in range(12):
        name = "train" if index < 8 else "test"
        draw(tmp_path / "pets" / name / ("cat", "dog")[index % 2] / f"{index}.JPG", index)
    return tmp_path / "pets"


def read(path: Path, **choices: object) -> Dataset:
    recipe = folder_recipe(path.name, list_image_folder(path), FolderChoices(**choices))
    return load_dataset(recipe, path.parent)


def test_a_folder_that_is_split_is_read_as_it_is(split: Path) -> None:
    dataset = read(split)
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("pets", 8, 4)
    assert dataset.train.targets.tolist() == [0] * 4 + [1] * 4
    preprocessing = folder_recipe("pets", list_image_folder(split), FolderChoices()).preprocessing
    assert np.array_equal(
        dataset.test.inputs[0], prepare_bytes((split / "test" / "cat" / "10.JPG").read_bytes(), preprocessing)
    )


def test_a_share_of_each_class_is_held_out_by_seed(plain: Path) -> None:
    dataset = read(plain)
    assert [dataset.test.targets.tolist().count(index) for index in (0, 1)] == [2, 1]
    assert [dataset.train.targets.tolist().count(index) for index in (0, 1)] == [8, 4]
    assert read(plain).sha256 == dataset.sha256
    assert np.array_equal(read(plain).test.inputs, dataset.test.inputs)
    assert read(plain, split_seed=1).sha256 != dataset.sha256
    assert len(read(plain, test_share=0.5).test) == 5 + 2
    assert len(read(plain, test_share=0.01).test) == 2  # at least one of each class
    assert len(read(plain, test_share=0.99).train) == 2


def touch_a_byte(path: Path) -> None:
    with (path / "cat" / "00.png").open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param(touch_a_byte, False, id="byte"),
        pytest.param(lambda path: (path / "cat" / "00.png").rename(path / "cat" / "00b.png"), False, id="name"),
        pytest.param(lambda path: draw(path / "dog" / "99.png", 99), False, id="one-more"),
        pytest.param(lambda path: (path / "cat" / ".hidden").write_bytes(b"x"), True, id="hidden"),
        pytest.param(lambda path: (path / "README.txt").write_bytes(b"x"), True, id="read-me"),
        pytest.param(lambda path: (path / "cat" / "Thumbs.db").write_bytes(b"x"), True, id="thumbs"),
    ],
)
def test_digest_is_over_what_is_read(change: Callable[[Path], object], same: bool, plain: Path) -> None:
    before = read(plain).sha256
    change(plain)
    assert (read(plain).sha256 == before) == same


def test_choices_become_preprocessing(plain: Path) -> None:
    assert read(plain, size=32, fit="crop").train.inputs.shape == (12, 32, 32, 3)
    assert read(plain, size=8, model="digits-cnn").train.inputs.shape == (12, 8, 8, 1)
    recipe = folder_recipe("pets", list_image_folder(plain), FolderChoices(fit="ink", augment="vary-pen"))
    assert (recipe.preprocessing.color, recipe.preprocessing.drawing, recipe.augmentation) == ("L", True, "vary-pen")


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_model_has_the_parameters_that_help_says(name: str, tmp_path: Path) -> None:
    for index in range(6):
        draw(tmp_path / "abc"[index % 3] / f"{index}.png", index)
    recipe = folder_recipe("letters", list_image_folder(tmp_path), FolderChoices(model=name))
    assert count_parameters(recipe) == IMAGE_MODELS[name].parameters


def test_names_become_names_of_models() -> None:
    assert recipe_name("my photos (2)", "mlp") == "my-photos-2-mlp"
    assert recipe_name("写真", "mlp") == "images-mlp"
    assert recipe_name("../..", "mlp") == "images-mlp"


def test_a_folder_is_found_below_the_root_or_as_the_root(plain: Path, tmp_path: Path) -> None:
    assert find_folder("pets", tmp_path) == find_folder("pets", plain) == plain
    with pytest.raises(MissingDataError, match=r"cars does not exist, but the folder of images was expected there; gi"):
        find_folder("cars", tmp_path)


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def lead_out(path: Path) -> None:
    draw(path.parent / "elsewhere" / "0.png", 77)
    (path / "dog" / "link.png").symlink_to(path.parent / "elsewhere" / "0.png")


def lead_out_by_folder(path: Path) -> None:
    draw(path.parent / "elsewhere" / "0.png", 77)
    (path / "bird").symlink_to(path.parent / "elsewhere")


def leave_one(path: Path) -> None:
    for file in sorted((path / "dog").iterdir())[1:]:
        file.unlink()


def spoil(path: Path, content: bytes) -> None:
    (path / "dog" / "12.png").write_bytes(content)


PLAIN = [
    (shutil.rmtree, r"pets does not exist, but a folder with one folder of images per class was expected; give"),
    (lambda path: (shutil.rmtree(path), path.write_text("x")), r"pets is a file, but a folder with one folder"),
    (empty, r"pets holds no folders, but one folder of images per class was expected; give another DIR"),
    (lambda path: empty(path / "dog"), r"dog is empty, but the images of one class were expected; add some, or"),
    (lambda path: shutil.rmtree(path / "dog"), r"pets has one class alone, cat, but at least two were expected"),
    (lambda path: draw(path / "0.png", 0), r"0\.png lies in no class, but each image was expected in the folder"),
    (lambda path: draw(path / "cat" / "old" / "0.png", 0), r"old is a folder inside a class, but images were"),
    (lambda path: (path / "cat" / "a.heic").write_bytes(b"x"), r"a\.heic is no image, but only files that end in"),
    (lambda path: os.mkfifo(path / "cat" / "a.png"), r"a\.png is no image, but only files that end in"),
    (lambda path: spoil(path, b""), r"12\.png cannot be read: image has 0 bytes, .*; replace it or take it away"),
    (lambda path: spoil(path, b"\x89PNG no"), r"12\.png cannot be read: .*; replace it or take it away"),
    (lead_out, r"link\.png is a link that leads out of the folder; put what it names there instead"),
    (lead_out_by_folder, r"bird is a link that leads out of the folder; put what it names there instead"),
    (leave_one, r"class dog of .*pets has 1 image, but at least 2 were expected, one to train on and one to hold"),
    (lambda path: draw(path / "a\nb" / "0.png", 0), r"'a\\nb' in .*pets has signs in its name that cannot be shown"),
    (lambda path: draw(path / "cat" / "\u202egnp.png", 0), r"'\\u202egnp\.png' in .*cat has signs in its name"),
    (lambda path: (path / os.fsdecode(b"\xff")).mkdir(), r"'\\udcff' in .*pets has signs in its name that cannot"),
]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links and names")
@pytest.mark.parametrize(("change", "sentence"), PLAIN, ids=[sentence[:24] for _, sentence in PLAIN])
def test_what_is_wrong_with_a_folder_is_one_sentence(
    change: Callable[[Path], object], sentence: str, plain: Path
) -> None:
    read(plain)
    change(plain)
    with pytest.raises(DataError, match=sentence):
        read(plain)


SPLIT = [
    (lambda path: draw(path / "test" / "bird" / "0.png", 0), r"test has class bird, but .*train has cat, dog; both"),
    (lambda path: shutil.rmtree(path / "test" / "cat"), r"train has class cat, but .*test has dog; both must have"),
    (lambda path: shutil.rmtree(path / "test"), r"pets has train with folders in it, but no test; name the held-out"),
    (lambda path: (path / "val").mkdir(), r"val stands beside train and test, but nothing else is used; take it away"),
    (
        lambda path: shutil.copy(path / "train" / "cat" / "0.JPG", path / "test" / "dog" / "x.jpg"),
        r"x\.jpg is held out, but .*0\.JPG, which is trained on, has the same bytes, so that it would test nothing",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), SPLIT, ids=[sentence[:24] for _, sentence in SPLIT])
def test_what_is_wrong_with_splits_is_one_sentence(
    change: Callable[[Path], object], sentence: str, split: Path
) -> None:
    read(split)
    change(split)
    with pytest.raises(DataError, match=sentence):
        read(split)


def test_links_inside_the_folder_are_fine(split: Path) -> None:
    (split / "train" / "cat" / "again.jpg").symlink_to(split / "train" / "cat" / "0.JPG")
    assert len(read(split).train) == 9


def test_images_and_folders_that_cannot_be_read_are_named(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "MOST_IMAGE_BYTES", 16)
    with pytest.raises(DataError, match=r"\.png cannot be read: it has more than 16 bytes, which is the most of an im"):
        read(plain)
    monkeypatch.undo()
    if os.geteuid() == 0:
        return  # may read everything
    (plain / "cat" / "00.png").chmod(0)
    with pytest.raises(DataError, match=r"00\.png cannot be read \(Permission denied\); mend that or take it away"):
        read(plain)


def test_other_classes_or_splits_than_those_of_the_run_are_named(plain: Path) -> None:
    recipe = folder_recipe("pets", list_image_folder(plain), FolderChoices())
    draw(plain / "train" / "cat" / "0.png", 0)
    draw(plain / "train" / "dog" / "0.png", 1)
    for name in ("cat", "dog"):
        shutil.rmtree(plain / name)
        shutil.copytree(plain / "train" / name, plain / "test" / name)
    with pytest.raises(DataError, match=r"pets has folders train and test, but none was expected; give the folder as"):
        load_dataset(recipe, plain.parent)
    shutil.rmtree(plain / "test")
    (plain / "train").rename(plain / "bird")
    with pytest.raises(DataError, match=r"cat is a folder inside a class, but images were expected there"):
        load_dataset(recipe, plain.parent)
    empty(plain)
    for index in range(4):
        draw(plain / ("cat", "bird")[index % 2] / f"{index}.png", index)
    with pytest.raises(DataError, match=r"pets has the classes bird, cat, but cat, dog were expected; give the folder"):
        load_dataset(recipe, plain.parent)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"model": "circles-v2"}, r"model circles-v2 takes a table, but images are to be trained on; give one of tiny"),
        ({"model": "linear"}, r"model linear takes a table, but images are to be trained on; give one of tinyvgg"),
        ({"model": "tinyvg"}, r"model 'tinyvg' does not exist, but one of tinyvgg, .* was expected; did you mean tiny"),
        ({"size": 30}, r"--size is 30, but model tinyvgg takes multiples of 4 from 8 to 1024; give one such as 64"),
        ({"size": 0}, r"--size is 0, but model tinyvgg takes multiples of 4"),
        ({"size": 4096}, r"--size is 4096, but model tinyvgg takes multiples of 4 from 8 to 1024"),
        ({"model": "digits-cnn", "color": "RGB"}, r"--color is RGB, but model digits-cnn takes L alone; leave it out"),
        ({"augment": "vary-pen"}, r"--augment is vary-pen, which varies white drawings on black, but images are RGB"),
        ({"test_share": 1.0}, r"folder pets has test share 1\.0, but a number above 0 and below 1 was expected"),
        (
            {"test_share": float("nan")},
            r"folder pets has test share nan, but a number above 0 and below 1 was expected",
        ),
        ({"split_seed": -1}, r"folder pets has split seed -1, but a number from 0 to 2\*\*63 - 1 was expected"),
    ],
)
def test_choices_that_cannot_be_are_one_sentence(choices: dict[str, object], sentence: str, plain: Path) -> None:
    with pytest.raises(RecipeError, match=sentence):
        folder_recipe("pets", list_image_folder(plain), FolderChoices(**choices))


@pytest.mark.parametrize(("flag", "value"), [("test_share", 0.2), ("split_seed", 0)])
def test_a_folder_that_is_split_takes_no_share(flag: str, value: float, split: Path) -> None:
    with pytest.raises(RecipeError, match=rf"--{flag.replace('_', '-')} is given, but .*pets has folders train and te"):
        folder_recipe("pets", list_image_folder(split), FolderChoices(**{flag: value}))


@pytest.mark.parametrize("name", ["", "..", "a/b", "/"])
def test_a_recorded_name_cannot_lead_anywhere(name: str) -> None:
    with pytest.raises(RecipeError, match=r"has no name of its own, but one was expected; give another DIR"):
        ImageFolder(name=name)


def test_a_share_and_its_seed_stand_together() -> None:
    with pytest.raises(RecipeError, match=r"folder a has a test share without a split seed, or one without a share"):
        ImageFolder(name="a", test_share=0.2)


def test_the_command_has_the_choices_of_the_recipe() -> None:
    assert set(FolderChoices.__dataclass_fields__) <= set(FolderCommand.__dataclass_fields__)
