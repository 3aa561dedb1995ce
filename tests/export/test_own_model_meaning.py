"""What the user says of inputs, outputs and samples, against what the network does."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import export
from export.errors import ExportError
from export.from_factory import draft_of_factory
from export.input_text import parse_input
from export.own_inputs import InputSettings, OwnInputs, read_inputs
from export.own_model import read_labels
from export.own_outputs import OutputSettings, read_outputs
from export.samples import read_samples
from serve.bundle import Feature, TensorSpec
from tests.export import own_files
from tests.export.own_files import command, save


class Bell(nn.Module):
    """Rings where its outputs are named."""

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"a\x07": rows, "b": rows}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with somebody's network; what importing it adds to the path is taken off again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return own_files.place(tmp_path)


IMAGE, TABLE = ("image:uint8[32,32,3]",), ("features:float32[3]",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({}, 'there is no --input, but .* give --input "image:uint8', id="none"),
        pytest.param({"inputs": ("image",)}, r"--input is 'image', but NAME:DTYPE\[dims\] was expected", id="no dtype"),
        pytest.param({"inputs": ("a:int8[3]",)}, "has dtype int8, but one of uint8, int64, float16", id="dtype"),
        pytest.param({"inputs": ("a:int64[n]",)}, r"has dims \[n\], but whole numbers above 0 were", id="named dim"),
        pytest.param({"inputs": ("a:int64[0]",)}, r"has dims \[0\], but whole numbers above 0 were", id="empty dim"),
        pytest.param({"inputs": ("a:int64[2]",) * 2}, "--input names a twice", id="twice"),
        pytest.param(
            {"inputs": tuple(f"i{i}:int64[2]" for i in range(7))}, "are 7 inputs, but at most 6 can be", id="seven"
        ),
        pytest.param({"inputs": IMAGE, "crop": 16}, "--crop is 16, but --input image is 32 x 32", id="crop"),
        pytest.param(
            {"inputs": IMAGE, "resize": 16}, "--resize and --input do not fit together: .* to 16", id="resize"
        ),
        pytest.param({"inputs": IMAGE, "mean": (0.5,)}, "--mean has 1 values, but the input has 3 channels", id="mean"),
        pytest.param({"inputs": IMAGE, "std": (1, 0, 1)}, r"--std is \[1, 0, 1\], but every value must be", id="std"),
        pytest.param({"inputs": IMAGE, "mean": (np.nan,) * 3}, "--mean is .*, but finite numbers were", id="nan"),
        pytest.param(
            {"inputs": IMAGE, "columns": ("a",)}, "--columns is given, but it belongs to a table", id="columns"
        ),
        pytest.param({"inputs": TABLE, "columns": ("a",)}, "--columns names 1 columns, but .* has 3", id="few columns"),
        pytest.param({"inputs": TABLE, "columns": ("a", "b", "a")}, "--columns names a twice", id="equal columns"),
        pytest.param({"inputs": TABLE, "crop": 3}, "--crop is given, but it belongs to an image", id="no image"),
        pytest.param(
            {"inputs": ("a:int64[3]",), "mean": (1.0,)},
            r"--mean is given, but it belongs to a single image or table, .* --input is a:int64\[3\]; leave it out",
            id="tensor",
        ),
    ],
)
def test_inputs_that_do_not_fit_together(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_inputs(InputSettings(**settings))


def test_inputs_are_told_apart() -> None:
    assert parse_input("a:float32[]").shape == ("batch",)
    cropped = read_inputs(InputSettings(crop=32)).preprocessing
    assert (cropped.shape, cropped.fit, cropped.resize) == ((32, 32, 3), "crop", 32)
    stretched = read_inputs(InputSettings(inputs=("image:uint8[8,9,1]",), interpolation="bicubic"))
    assert (stretched.preprocessing.fit, stretched.preprocessing.color) == ("stretch", "L")
    assert (stretched.mean, stretched.std) == ((0.0,), (1.0,))
    table = read_inputs(InputSettings(inputs=TABLE))
    assert [feature.name for feature in table.features] == ["x1", "x2", "x3"]
    floats = read_inputs(InputSettings(inputs=("image:float32[3,8,8]",)))
    assert (floats.preprocessing, floats.features, floats.mean) == (None, (), ())
    several = read_inputs(InputSettings(inputs=(*IMAGE, *TABLE)))
    assert (several.preprocessing, several.features) == (None, ())


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        pytest.param("pizza\nsteak \n\n", ("pizza", "steak"), id="lines"),
        pytest.param("import duty\nfrom a to b\n", ("import duty", "from a to b"), id="words of Python"),
        pytest.param("\ufeffT-shirt/top\r\nAnkle boot\r\n", ("T-shirt/top", "Ankle boot"), id="from Windows"),
        pytest.param(json.dumps(["a", "b"]), ("a", "b"), id="JSON"),
    ],
)
def test_labels_are_read(content: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(content.encode())
    assert read_labels(tmp_path / "l") == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, r"--labels .* cannot be read \(No such file", id="missing"),
        pytest.param(b"", "is empty, but one name per line was expected", id="empty"),
        pytest.param(
            b"a\n\nb",
            "has nothing in line 2, but a name in every line was expected, as in its first, 'a'; take",
            id="gap",
        ),
        pytest.param(
            b"import torch\n\nclass Net:\n",
            "nothing in line 2, .*, as in its first, 'import torch'; take that line out, or give the file of the names",
            id="program",
        ),
        pytest.param(b"\xff\xfe", "is no text in UTF-8", id="bytes"),
        pytest.param(b"[1, 2]", "holds other JSON than a list of names; give one, such as", id="numbers"),
        pytest.param(b'{"0": "a"}', "holds other JSON than a list of names", id="dictionary"),
        pytest.param(b'["a",', "is no valid JSON", id="torn"),
    ],
)
def test_labels_that_cannot_be_read(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "l").write_bytes(content)
    with pytest.raises(ExportError, match=message):
        read_labels(tmp_path / "l")


def test_labels_in_a_python_file_are_none(here: Path) -> None:
    (here / "short.py").write_text("NAMES = 3\n", encoding="utf-8")
    with pytest.raises(
        ExportError, match=r"^--labels short\.py is a program, but names of classes were expected; give"
    ):
        read_labels(Path("short.py"))


@pytest.mark.parametrize(
    ("last", "given", "message"),
    [
        pytest.param("squash", {"names": 4}, "--labels names 4 classes, but the network gives 3 logits a row", id="4"),
        pytest.param(
            "one", {"names": 3}, "names 3 classes, but the network gives 1 logit a row; give 1 labels, or 2", id="one"
        ),
        pytest.param("one", {"names": 1}, "--labels names 1 class, but a classification has at least 2", id="1"),
        pytest.param("squash", {"names": "twice"}, "--labels names 'a' twice", id="twice"),
        pytest.param(
            "map", {"names": 3}, r"labels are given, but forward returns out float32 \(batch, 4, 4, 4\), best", id="map"
        ),
        pytest.param("best", {"names": 3}, r"but forward returns output_0 int64 \(batch\); a classif", id="best"),
        pytest.param(
            "softmax", {"names": 3}, r"returns probabilities already \(its last step is a softmax\)", id="softmax"
        ),
        pytest.param("sigmoid", {"names": 3}, r"\(its last step is a sigmoid\), but logits are expected", id="sigmoid"),
        pytest.param("softmax", {"targets": ("a", "b")}, "names 2 targets, but the network gives 3 a row", id="2"),
        pytest.param("squash", {"targets": ("a", "b", "a")}, "--targets names 'a' twice", id="targets twice"),
        pytest.param("map", {"targets": ("a",)}, "--targets are given, but forward returns out float32", id="targets"),
        pytest.param("map", {"outputs": ("a",)}, "--outputs names 1 tensors, but forward returns out", id="outputs"),
        pytest.param("map", {"outputs": ("a", "a")}, "--outputs names 'a' twice", id="outputs twice"),
        pytest.param("half", {}, "output output_0 of forward is float16, but float32 or int64 was expected", id="half"),
        pytest.param("squeeze", {}, r"has shape \[\] for 1 rows, but \[1\] was .* look for squeeze\(\)", id="squeeze"),
        pytest.param("mean", {}, r"output output_0 of forward has shape \[\] for 3 rows", id="mean"),
        pytest.param("nested", {}, "output output_1 of forward is a list, but a tensor was expected", id="nested"),
        pytest.param("text", {}, "forward returns a str, but a tensor, a tuple of tensors or", id="text"),
        pytest.param("nothing", {}, "forward returns no tensor, but at least one was expected", id="nothing"),
        pytest.param("map", {"outputs": ("a", "b"), "names": 3}, "--outputs names tensors, but --labels", id="both"),
        pytest.param("map", {"names": 3, "targets": ("a",)}, "--labels are of a classification and --tar", id="two"),
    ],
)
def test_outputs_that_are_not_what_is_said_of_them(
    last: str, given: dict[str, object], message: str, here: Path
) -> None:
    given = {**given}
    count = given.pop("names", None)
    labels = None
    if count is not None:
        labels = Path("own.txt")
        labels.write_text("a\nb\na" if count == "twice" else "\n".join("abcd"[:count]), encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        draft_of_factory(
            command("net.py:Ending", save("Ending", last=last), args=(f"last={last}",), labels=labels, **given)
        )


@pytest.mark.parametrize(
    "name", ["", "  ", "a\x1b[31m", "a\x00", "two\nlines", "a\u2028b", "a\u202eb", "\ud800", "\x9b1m"]
)
@pytest.mark.parametrize("kind", ["labels", "targets"])
def test_names_that_do_not_show_or_steer_what_shows_them_are_refused(name: str, kind: str) -> None:
    layer = nn.Linear(4, 3)
    message = (
        rf"--{kind} names (class|target) 2 '.*', but a name is one line of letters that show, without control char"
    )
    with pytest.raises(ExportError, match=message) as caught:
        export.bundle(layer, "bundle", inputs="x:float32[4]", **{kind: ["a", name, "c"]})
    assert str(caught.value).isprintable()
    assert not Path("bundle").exists()


@pytest.mark.parametrize(
    ("network", "given", "message"),
    [
        (
            nn.Linear(4, 3),
            {"columns": ["a", "b\x07", "c", "d"]},
            r"--columns names column 2 'b\\x07', but a name is one",
        ),
        (nn.Conv1d(2, 2, 1), {"outputs": ["\u202ea"]}, r"--outputs names tensor 1 '\\u202ea', but a name is one line"),
        (Bell(), {}, r"forward names output 1 'a\\x07', but a name is one line of letters that show"),
    ],
    ids=["column", "tensor", "forward"],
)
def test_columns_and_tensors_are_named_like_classes(network: nn.Module, given: dict[str, Any], message: str) -> None:
    shape = "x:float32[2,4]" if isinstance(network, nn.Conv1d) else "x:float32[4]"
    with pytest.raises(ExportError, match=message):
        export.bundle(network, "bundle", inputs=shape, **given)
    assert not Path("bundle").exists()


def test_names_of_any_script_are_taken() -> None:
    rows = {"x": np.zeros((3, 4), np.float32)}
    names = ("café", "日本", "👩‍🍳")
    outputs = read_outputs(nn.Linear(4, 3), nn.Identity(), rows, OutputSettings(labels=names))
    assert outputs.labels == names


def test_logits_that_happen_to_lie_between_0_and_1_are_logits(here: Path) -> None:
    draft, _ = draft_of_factory(command("net.py:Ending", save("Ending", last="squash"), args=("last=squash",)))
    assert draft.task == "classification"


def test_an_input_that_forward_does_not_take_is_named(here: Path) -> None:
    with pytest.raises(ExportError, match=r"Net fails on image as float32 \[4, 1, 16, 16\] \(.*\); check --input"):
        draft_of_factory(command(inputs=("image:uint8[16,16,1]",)))


def test_an_exception_of_forwards_own_is_named_with_its_line(here: Path) -> None:
    source = (
        "from torch import nn\n\n\nclass Boom(nn.Linear):\n    def forward(self, x):\n        return self.nope(x)\n"
    )
    (here / "boom.py").write_text(source, encoding="utf-8")
    torch.save(nn.Linear(3, 2).state_dict(), "boom.pth")
    boom = command(
        "boom.py:Boom", "boom.pth", args=("in_features=3", "out_features=2"), labels=None, inputs=("t:float32[3]",)
    )
    with pytest.raises(ExportError) as caught:
        draft_of_factory(boom)
    assert str(caught.value) == (
        "Boom fails on t as float32 [4, 3] (AttributeError: 'Boom' object has no attribute 'nope', at boom.py:6 "
        "(return self.nope(x))); mend that in forward"
    )


def test_without_labels_it_is_said_that_numbers_are_predicted(here: Path) -> None:
    draft, notes = draft_of_factory(command(labels=None))
    assert (draft.task, draft.labels) == ("regression", ("y1", "y2", "y3"))
    assert "without --labels this is a regression with y1, y2, y3; give --labels for classes" in notes


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        pytest.param({}, "net", id="the class"),
        pytest.param({"factory": "net.py:build"}, "net", id="a builder's file"),
        pytest.param({"out": Path("bundles/food")}, "food", id="the folder"),
        pytest.param({"out": Path("bundles/food"), "name": "pizza"}, "pizza", id="as told"),
    ],
)
def test_a_bundle_has_a_name(settings: dict[str, object], name: str, here: Path) -> None:
    assert draft_of_factory(command(**settings))[0].name == name


def _photo(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (grey, grey, grey)).save(path)


def test_a_folder_of_images_gives_classes_by_its_sub_folders(here: Path) -> None:
    for index, label in enumerate(("pizza", "steak", "sushi")):
        for number in range(20):
            _photo(here / "photos" / label / f"{number}.png", 10 * index + number)
    draft, notes = draft_of_factory(command(samples=Path("photos")))
    held_out = draft.golden_kind == "held-out"
    assert held_out.sum() == 32
    for image, class_index in zip(
        draft.golden_inputs["image"][held_out], draft.golden_class_index[held_out], strict=True
    ):
        assert 10 * class_index <= image[0, 0, 0] < 10 * class_index + 20
    assert len(draft.calibration["image"]) == 60
    assert draft.provenance.dataset == "photos"
    assert not any("samples" in note for note in notes)


def test_samples_beyond_the_golden_ones_calibrate(here: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(90, 16, 16, 3), dtype=np.uint8)
    np.savez("s.npz", image=images, label=np.arange(90) % 3)
    draft, _ = draft_of_factory(command(samples=Path("s.npz")))
    proven = {row.tobytes() for row in draft.golden_inputs["image"]}
    assert len(draft.calibration["image"]) == 58
    assert not any(row.tobytes() in proven for row in draft.calibration["image"])
    assert sorted(set(draft.golden_class_index.tolist())) == [-1, 0, 1, 2]


def test_what_systems_leave_beside_images_is_passed_over(here: Path) -> None:
    _photo(here / "photos" / "pizza" / "a.jpg", 3)
    _photo(here / "photos" / "pizza" / "b.png", 4)
    (here / "photos" / "pizza" / "b.png").rename(here / "photos" / "pizza" / "b.PNG")
    (here / "photos" / "pizza" / "._a.jpg").write_bytes(b"of a Finder")
    draft, _ = draft_of_factory(command(samples=Path("photos")))
    assert (draft.golden_kind == "held-out").sum() == 2


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_samples_that_are_no_finite_numbers_are_named(value: float, here: Path) -> None:
    weights = save("Rows")
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows[2, 1] = value
    np.savez("rows.npz", t=rows)
    with pytest.raises(ExportError, match=rf"rows\.npz has {value} in row 3 of column 'x2' of t, but finite numbers"):
        draft_of_factory(
            command("net.py:Rows", weights, labels=None, inputs=("t:float32[3]",), samples=Path("rows.npz"))
        )


def test_a_tables_optional_column_may_lack_values_but_not_be_infinite(tmp_path: Path) -> None:
    inputs = OwnInputs(
        specs=(TensorSpec(name="t", dtype="float32", shape=("batch", 2)),),
        features=(Feature(name="rooms", optional=True), Feature(name="area")),
    )
    np.savez(tmp_path / "a.npz", t=np.array([[np.nan, 1], [2, 3]], np.float32))
    assert np.isnan(read_samples(tmp_path / "a.npz", inputs, ()).inputs["t"]).sum() == 1
    np.savez(tmp_path / "b.npz", t=np.array([[np.inf, 1], [2, 3]], np.float32))
    with pytest.raises(ExportError, match="has inf in row 1 of column 'rooms' of t"):
        read_samples(tmp_path / "b.npz", inputs, ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("nowhere", "--samples nowhere does not exist, but a folder of images", id="missing"),
        pytest.param("empty", "--samples empty holds no images, but at least one was expected", id="empty"),
        pytest.param("burgers", "has a sub-folder burger, but the classes are pizza, steak, sushi; name", id="folders"),
        pytest.param("torn", r"--samples: torn/a\.png cannot be read: .* replace it or take it away", id="torn image"),
        pytest.param("large", r"large/a\.jpe cannot be read: it has more than 67,108,864 bytes", id="large image"),
        pytest.param("barred", r"--samples: barred/a\.png cannot be read \(.+\); mend that or take", id="unreadable"),
        pytest.param(
            "rows.csv", r"is rows\.csv, but the network takes images; give a folder of images, or an", id="csv"
        ),
        pytest.param(
            "torn.npz",
            r"--samples torn\.npz is no \.npz, but one with an array per input was expected; write it with np",
            id="text",
        ),
        pytest.param("short.npz", r"--samples short\.npz cannot be read \(", id="npz cut short"),
        pytest.param(
            "half.npz", r"half\.npz ends too early for an \.npz, so it is damaged or cut .*; copy or", id="half"
        ),
        pytest.param("one.npz", r"one\.npz holds one array without a name, as np\.save .*; write it with", id="npy"),
        pytest.param("objects.npz", r"objects\.npz holds image as Python objects, but plain .*; save it", id="objects"),
        pytest.param("names.npz", r"names\.npz holds label as Python objects, but plain numbers or texts", id="names"),
        pytest.param("other.npz", r"has the arrays x, but input image was expected; name one", id="other npz"),
        pytest.param("nothing.npz", r"has no arrays, but input image was expected; name one array", id="no arrays"),
        pytest.param(
            "shape.npz", r"image as uint8 \[2, 8, 8, 3\], but uint8 \[rows, 16, 16, 3\] .*; save rows", id="shape"
        ),
        pytest.param(
            "one_row.npz", r"has image as uint8 \[16, 16, 3\], .*; save one row as image\[None\]$", id="one row"
        ),
        pytest.param(
            "float.npz", r"has image as float64 \[2, 16, .*; save pixel values from 0 to 255 as uint8$", id="dtype"
        ),
        pytest.param("none.npz", r"has no rows of image, but at least one was expected; save some rows", id="no rows"),
        pytest.param(
            "classes.npz",
            r"classes\.npz has label 'burger' in row 2, but the classes are pizza, .*; give one",
            id="classes",
        ),
        pytest.param("few.npz", r"few\.npz has 1 true classes, but 2 rows; give one for each", id="few classes"),
    ],
)
def test_samples_that_are_not_what_the_network_takes(name: str, message: str, here: Path) -> None:
    (here / "empty").mkdir()
    _photo(here / "burgers" / "burger" / "a.png", 3)
    (here / "torn").mkdir()
    (here / "torn" / "a.png").write_bytes(b"torn")
    (here / "rows.csv").write_text("a\n1\n", encoding="utf-8")
    (here / "torn.npz").write_bytes(b"torn")
    two = np.zeros((2, 16, 16, 3), np.uint8)
    np.savez("other.npz", x=two)
    np.savez("whole.npz", image=two)
    content = (here / "whole.npz").read_bytes()
    (here / "short.npz").write_bytes(content[:900] + content[1200:])
    with (here / "one.npz").open("wb") as file:
        np.save(file, two)
    (here / "large").mkdir()
    with (here / "large" / "a.jpe").open("wb") as file:
        file.truncate((64 << 20) + 1)
    (here / "barred").mkdir()
    (here / "barred" / "a.png").symlink_to("/proc/self/mem")
    (here / "half.npz").write_bytes(content[:900])
    np.savez("objects.npz", image=two.astype(object))
    np.savez("names.npz", image=two, label=np.asarray(["pizza", "sushi"], dtype=object))
    np.savez("nothing.npz")
    np.savez("one_row.npz", image=two[0])
    np.savez("float.npz", image=two / 255)
    np.savez("shape.npz", image=two[:, :8, :8])
    np.savez("none.npz", image=two[:0])
    np.savez("classes.npz", image=two, label=np.asarray(["pizza", "burger"]))
    np.savez("few.npz", image=two, label=np.asarray([1]))
    with pytest.raises(ExportError, match=message):
        draft_of_factory(command(samples=Path(name)))


def test_arrays_of_unequal_rows_are_named(tmp_path: Path) -> None:
    specs = tuple(TensorSpec(name=name, dtype="float32", shape=("batch", 2)) for name in ("here", "there"))
    np.savez(tmp_path / "x.npz", here=np.zeros((39, 2), np.float32), there=np.zeros((40, 2), np.float32))
    with pytest.raises(ExportError, match=r"x\.npz has 39 rows of here, but 40 of there; save as many rows of each"):
        read_samples(tmp_path / "x.npz", OwnInputs(specs=specs), ())
    np.savez(tmp_path / "x.npz", here=np.zeros((3, 2), np.float64), there=np.zeros((3, 2), np.float32))
    with pytest.raises(ExportError, match=r"has here as float64 \[3, 2\], .*; save it as here\.astype\('float32'\)$"):
        read_samples(tmp_path / "x.npz", OwnInputs(specs=specs), ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("a,b\n1,2\n", "the table has no column 'x1', but a, b", id="columns"),
        pytest.param("x1,x2,x3\n1,2,red\n", "row 1, column 'x3' has 'red', but a number was expected", id="cell"),
        pytest.param("x1,x2,x3\n", "has no rows, but at least one was expected", id="rows"),
    ],
)
def test_tables_that_are_not_what_the_network_takes(content: str, message: str, here: Path) -> None:
    (here / "rows.csv").write_text(content, encoding="utf-8")
    weights = save("Rows")
    with pytest.raises(ExportError, match=message):
        draft_of_factory(
            command("net.py:Rows", weights, labels=None, inputs=("t:float32[3]",), samples=Path("rows.csv"))
        )


def test_a_table_may_hold_the_true_classes(here: Path) -> None:
    (here / "rows.csv").write_text("x1,x2,x3,label\n1,2,3,sushi\n4,5,6,pizza\n", encoding="utf-8")
    weights = save("Rows", targets=3)
    inputs = ("t:float32[3]",)
    draft, _ = draft_of_factory(
        command("net.py:Rows", weights, args=("targets=3",), inputs=inputs, samples=Path("rows.csv"))
    )
    assert sorted(draft.golden_class_index[draft.golden_kind == "held-out"].tolist()) == [0, 2]
