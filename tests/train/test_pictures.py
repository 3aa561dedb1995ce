"""Pictures: the numbers in them, and that they can be read."""

import itertools
import struct
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn

from serve.bundle import Feature
from train.dataset import Split
from train.models.digits_cnn import DigitsCNN
from train.models.image_input import ImageInput
from train.models.inputs import build_input
from train.models.mlp_tables import BlobsNet, CirclesNet
from train.pictures.boundary import Points, class_leads, draw_boundary, make_plane, shade
from train.pictures.confusion import count_confusions, draw_confusion, largest_confusions, say_confusion, score_classes
from train.pictures.draw import DRAW
from train.pictures.fit import Predicted, curve_places, draw_fit, draw_predicted_against_true, say_fit
from train.pictures.gallery import draw_gallery, draw_nothing, say_predictions, worst_first
from train.pictures.kinds import KINDS, NEEDS, OF_RECIPES, Kind
from train.pictures.layers import say_layers, summarise_layers
from train.pictures.layout import RIGHT, SMALL, WRONG, new_grid, number, render, shorten, thin, wrap
from train.pictures.picture import Picture, PictureError
from train.pictures.points import draw_classes, draw_values, table_cells
from train.pictures.predict import Answers, as_answers, run_network
from train.pictures.probabilities import draw_probabilities, is_close, say_doubt
from train.pictures.request import pick
from train.pictures.table import draw_table
from train.recipes.registry import RECIPES
from train.run import build_network

PNG = b"\x89PNG\r\n\x1a\n"


def readable(figure: Figure) -> tuple[int, int]:
    """Render, check that nothing is too small to be read, and return width and height in pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = render(figure, "").png
    assert png[:8] == PNG
    shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert min((text.get_fontsize() for text in shown), default=SMALL) >= SMALL
    width, height = struct.unpack(">II", png[16:24])
    assert 480 <= width <= 1200
    assert height <= 1800
    return width, height


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def answers_of(class_index: list[int], confidence: list[float], classes: int = 3) -> Answers:
    """Return answers whose chosen class has the given probability, the others an equal share of the rest."""
    sure = np.array(confidence, dtype=np.float32)
    probabilities = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probabilities[np.arange(len(sure)), class_index] = sure
    return Answers(probabilities=probabilities, class_index=np.array(class_index))


# --- what there is ---------------------------------------------------------------------------------------------------


def test_every_kind_has_a_function() -> None:
    assert tuple(DRAW) == KINDS == get_args(Kind)
    assert set(NEEDS) < set(KINDS)
    assert set(KINDS) > OF_RECIPES


def test_seed_picks_rows() -> None:
    # Source: notes 003, S10: random.seed(42); random.sample(list(test_data), k=9), of 10,000
    assert pick(10_000, 9, 42) == [1824, 409, 4506, 4012, 3657, 2286, 1679, 8935, 1424]
    assert pick(10_000, 1, 42) == [1824]
    assert pick(10_000, 9, 43) != pick(10_000, 9, 42)
    assert sorted(pick(3, 9, 0)) == [0, 1, 2]


# --- confusion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_confusions_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth, predicted = rng.integers(0, classes, size=(2, 500))
    counts = count_confusions(truth, predicted, classes)
    assert np.array_equal(counts, confusion_matrix(truth, predicted, labels=range(classes)))
    assert not np.array_equal(count_confusions(predicted, truth, classes), counts)
    mistakes = [int(counts[t, p]) for t in range(classes) for p in range(classes) if t != p]
    assert [count for *_, count in largest_confusions(counts)] == sorted(mistakes, reverse=True)[:5]
    assert all(counts[t, p] == count and t != p for t, p, count in largest_confusions(counts))


def test_one_class_cannot_be_confused() -> None:
    counts = count_confusions(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), 1)
    assert counts.tolist() == [[3]]
    assert largest_confusions(counts) == []


def test_confusion_shows_counts_and_shares_of_rows() -> None:
    counts = np.array([[1200, 0, 300], [0, 0, 0], [5, 5, 10]])
    figure = draw_confusion(counts, ["cat", "dog", "cow"], title="pets")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["1,200", "0", "300", "0", "0", "0", "5", "5", "10"]
    assert np.allclose(axes.images[0].get_array(), [[0.8, 0, 0.2], [0, 0, 0], [0.25, 0.25, 0.5]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "cow"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    readable(figure)
    assert say_confusion(counts, ["cat", "dog", "cow"]).splitlines() == [
        "79.61% of 1,520 test rows right",
        "most often taken for another:",
        "  cat for cow: 300 of 1,500 (20.0%)",
        "  cow for cat: 5 of 20 (25.0%)",
        "  cow for dog: 5 of 20 (25.0%)",
        "class  precision  recall      F1",
        "cat       0.9959  0.8000  0.8872",
        "dog       0.0000       -  0.0000",
        "cow       0.0323  0.5000  0.0606",
    ]
    assert say_confusion(np.diag([3, 4]), ["a", "b"]).splitlines()[1] == "none is taken for another"


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 5, size=(2, 300))
    scores = score_classes(count_confusions(truth, predicted, 5))
    expected = precision_recall_fscore_support(truth, predicted)[:3]
    assert np.allclose(scores, np.transpose(expected))
    assert not np.allclose(scores[:, 0], scores[:, 1])
    assert np.isnan(score_classes(np.diag([3, 0]))[1]).all()


@pytest.mark.parametrize("classes", [1, 2, 10, 20, 21, 100])
def test_confusion_of_any_number_of_classes_is_readable(classes: int) -> None:
    counts = np.random.default_rng(0).integers(0, 9999, size=(classes, classes))
    figure = draw_confusion(counts, [f"a class of a long name {index}" for index in range(classes)], title="many")
    readable(figure)
    axes = figure.axes[0]
    assert len(axes.texts) == (classes**2 if classes <= 20 else 0)
    assert 1 <= len(axes.get_yticklabels()) <= 40
    heights = [label.get_window_extent().y0 for label in axes.get_yticklabels()]
    assert all(upper - lower > 12 for upper, lower in itertools.pairwise(heights))  # 8 pt are 13 pixels


# --- galleries -------------------------------------------------------------------------------------------------------


def test_errors_are_only_wrong_rows_the_most_confident_first() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=200)
    answers = answers_of(rng.integers(0, 3, size=200).tolist(), rng.uniform(0.4, 1, size=200).tolist())
    places = worst_first(answers, truth)
    assert set(places) == {row for row in range(200) if answers.class_index[row] != truth[row]}
    assert np.all(np.diff(answers.confidence[places]) <= 0)
    assert len(worst_first(answers, answers.class_index)) == 0


def test_predictions_are_marked_by_colour_and_by_sign() -> None:
    titles, colours, lines = say_predictions(answers_of([0, 2], [0.9, 0.5]), np.array([0, 1]), ["cat", "dog", "cow"])
    assert titles == ["✓ Pred: cat | 90.0%\nTruth: cat", "✗ Pred: cow | 50.0%\nTruth: dog"]
    assert colours == [RIGHT, WRONG]
    assert lines == ["✓ Pred: cat | Truth: cat | 90.0%", "✗ Pred: cow | Truth: dog | 50.0%"]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (1, 4), (2, 3), (9, 3), (16, 4), (24, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_gallery_of_any_size(count: int, columns: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(count, 6, 8, channels), dtype=np.uint8)
    figure = draw_gallery(images, [f"image {index}" for index in range(count)], columns=columns, title="all of them")
    readable(figure)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == [f"image {index}" for index in range(count)]
    for axes, image in zip(panels, images, strict=True):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), image[..., 0] if channels == 1 else image)
    if channels == 1:
        assert panels[0].images[0].get_cmap().name == "gray"
        assert panels[0].images[0].get_clim() == (0, 255)  # a dark image stays dark


def test_long_and_odd_labels_stay_in_their_panel() -> None:
    images = np.zeros((3, 4, 4, 1), dtype=np.uint8)
    titles = ["a label of so many words that it cannot stand in one line above an image", "$5_and$ \\alpha", "比萨饼"]
    figure = draw_gallery(images, titles, columns=3)
    readable(figure)
    first, second, _ = figure.axes
    assert first.get_title().count("\n") == 2
    assert second.get_title() == titles[1]  # no formula
    assert first.title.get_window_extent().width <= first.bbox.width * 1.1


def test_signs_that_no_font_has_are_named() -> None:
    images, sign = np.zeros((2, 4, 4, 1), dtype=np.uint8), "\U000f8fe0"  # of no script: for private use
    picture = render(draw_gallery(images, [f"a {sign}", f"{sign} b"], columns=2), "two images")
    assert picture.text == f"two images\nthe picture shows boxes for {sign}: no font here has these signs"
    assert render(draw_gallery(images, ["a", "✓ b"], columns=2), "two images").text == "two images"
    many = [chr(0xF8F00 + index) for index in range(12)]
    text = render(draw_gallery(images, ["".join(many[:6]), "".join(many[6:])], columns=2), "").text
    assert text == f"the picture shows boxes for {' '.join(many[:10])} and 2 more: no font here has these signs"


def test_a_grid_of_one_is_no_special_case() -> None:
    figure, panels = new_grid(1, columns=4)
    assert len(panels) == 1
    readable(figure)
    _, panels = new_grid(5, columns=3)
    assert len(panels) == 5


def test_nothing_to_be_seen_is_said() -> None:
    figure = draw_nothing("none of the 360 test images is taken for another class")
    readable(figure)
    assert "none of the 360" in " ".join(texts(figure)).replace("\n", " ")


def test_equal_figures_give_equal_bytes() -> None:
    def draw(value: int) -> bytes:
        return render(draw_gallery(np.full((2, 3, 3, 1), value, dtype=np.uint8), ["a", "b"], columns=2), "").png

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


# --- what networks say -----------------------------------------------------------------------------------------------


def test_one_logit_is_two_probabilities() -> None:
    logits = torch.tensor([[-2.0], [0.0], [3.0]])
    answers = as_answers(logits)
    assert np.allclose(answers.probabilities[:, 1], torch.sigmoid(logits)[:, 0])
    assert np.allclose(answers.probabilities.sum(axis=1), 1)
    assert answers.class_index.tolist() == [0, 1, 1]  # at 0 it is class 1, as in training and serving
    assert np.allclose(answers.confidence, [torch.sigmoid(torch.tensor(2.0)), 0.5, torch.sigmoid(torch.tensor(3.0))])


def test_many_logits_are_their_softmax() -> None:
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    answers = as_answers(logits)
    assert np.allclose(answers.probabilities, torch.softmax(logits, dim=1))
    assert np.array_equal(answers.class_index, logits.argmax(dim=1))


def test_dropout_is_off_and_the_mode_stays() -> None:
    network = DigitsCNN(height=8, width=8, hidden_units=4, classes=10, dropout=0.5)
    images = np.random.default_rng(0).integers(0, 256, size=(1001, 8, 8, 1), dtype=np.uint8)
    images.setflags(write=False)
    first, second = (run_network(network, ImageInput((0.0,), (1.0,)), images) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (1001, 10)
    assert network.training
    with torch.no_grad():
        pixels = torch.tensor(images).permute(0, 3, 1, 2) / 255
        assert not torch.equal(network(pixels), first)  # with dropout it is another answer
        assert torch.allclose(network.eval()(pixels), first, atol=1e-5)


# --- boundaries ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_network_on_a_gpu_answers_on_the_cpu() -> None:
    network = CirclesNet(features=2, hidden_units=10, relu=True)
    input_module = build_input((Feature(name="a"), Feature(name="b")), (0.0, 0.0), (1.0, 1.0))
    rows = np.ones((3, 2), dtype=np.float32)
    expected = run_network(network, input_module, rows)
    actual = run_network(network.cuda(), input_module.cuda(), rows)
    assert actual.device.type == "cpu"
    assert torch.allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_boundary_is_what_the_network_says_of_each_place(classes: int) -> None:
    torch.manual_seed(0)
    network: nn.Module = (
        CirclesNet(features=2, hidden_units=10, relu=True)
        if classes == 2
        else BlobsNet(features=2, hidden_units=8, classes=classes)
    )
    input_module = build_input((Feature(name="a"), Feature(name="b")), (0.0, 0.0), (1.0, 1.0))
    features = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    plane = make_plane(features, steps=21)
    answers = as_answers(run_network(network, input_module, plane.points))
    for row, column in ((0, 0), (3, 17), (20, 20)):
        place = torch.tensor([[plane.x[column], plane.y[row]]])
        expected = as_answers(network(place).detach()).probabilities[0]
        assert np.allclose(answers.probabilities[row * 21 + column], expected, atol=1e-6)
    assert plane.x[0] == pytest.approx(features[:, 0].min() - 0.1)
    assert plane.y[-1] == pytest.approx(features[:, 1].max() + 0.1)

    truth = np.arange(40) % classes
    points = Points(name="test", features=features, class_index=truth, predicted=truth.copy())
    points.predicted[:10] = (points.predicted[:10] + 1) % classes
    labels = [f"class {index}" for index in range(classes)]
    figure = draw_boundary(plane, answers, [points, points], labels=labels, names=["a", "b"])
    assert readable(figure)[0] == 1200
    axes = figure.axes[1]
    assert axes.get_title() == "test: 75.00% of 40 points right, by the kept weights"
    assert np.allclose(axes.images[0].get_array(), shade(answers.probabilities).reshape(21, 21, 3))
    assert axes.images[0].origin == "lower"
    drawn = [np.asarray(part.get_offsets()) for part in axes.collections if part.get_label() in labels]
    for index, offsets in enumerate(drawn):
        assert np.allclose(offsets, features[truth == index])


def test_wide_data_has_a_wider_margin() -> None:
    plane = make_plane(np.array([[0, 0], [1000, 1]], dtype=np.float32))
    assert (plane.x[0], plane.x[-1]) == (-20, 1020)
    assert (plane.y[0], plane.y[-1]) == (pytest.approx(-0.1), pytest.approx(1.1))


def test_boundary_runs_where_two_classes_are_equal() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=100)
    leads = class_leads(probabilities)
    assert len(leads) == 3
    assert np.array_equal(np.argmax(leads, axis=0), probabilities.argmax(axis=1))
    assert all(np.array_equal(lead > 0, probabilities.argmax(axis=1) == index) for index, lead in enumerate(leads))
    assert class_leads(np.array([[0.9, 0.1], [0.8, 0.2]])) == []  # one class has all
    assert class_leads(np.ones((4, 1))) == []
    assert np.isfinite(shade(np.ones((4, 1)))).all()


def test_shade_tells_classes_and_doubt_apart() -> None:
    red, yellow, blue = shade(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert yellow.min() > 0.7
    sure, unsure = shade(np.array([[1.0, 0, 0, 0], [0.4, 0.2, 0.2, 0.2]]))
    assert np.all(unsure >= sure)
    many = shade(np.eye(10))
    assert len(np.unique(many.round(3), axis=0)) == 10


# --- tables and regressions ------------------------------------------------------------------------------------------


def split_of(rows: int, features: int, *, classes: int = 0, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, features)).astype(np.float32)
    targets = rng.integers(0, classes, size=rows) if classes else inputs[:, :1] * 2
    return Split(inputs=inputs, targets=targets)


def test_classes_are_points_of_both_splits() -> None:
    train, test = split_of(20, 2, classes=3), split_of(5, 2, classes=3, seed=1)
    figure = draw_classes(train, test, labels=["a", "b", "c"], names=["x", "y"])
    readable(figure)
    assert [axes.get_title() for axes in figure.axes] == ["train: 20 points", "test: 5 points"]
    assert sum(len(part.get_offsets()) for part in figure.axes[0].collections) == 20
    assert sum(len(part.get_offsets()) for part in figure.axes[1].collections) == 5
    assert len(draw_classes(train, train, labels=["a", "b", "c"], names=["x", "y"]).axes) == 1


def test_one_class_of_one_point_is_drawn() -> None:
    one = split_of(1, 2, classes=1)
    readable(draw_classes(one, one, labels=["only"], names=["x", "y"]))


def test_values_are_blue_in_training_and_green_in_the_test() -> None:
    train, test = split_of(20, 1), split_of(5, 1, seed=1)
    figure = draw_values(train, test, labels=["y"], names=["x"])
    readable(figure)
    blue, green = (part.get_facecolor()[0] for part in figure.axes[0].collections)
    assert blue[2] > max(blue[:2])
    assert green[1] > max(green[0], green[2])
    same = draw_values(split_of(20, 2), split_of(20, 2), labels=["y"], names=["x1", "x2"])
    assert "train and test: the same 20 rows" in texts(same)
    assert [len(axes.collections) for axes in same.axes] == [1, 1]


def test_table_names_categories_and_says_what_is_left_out() -> None:
    features = (Feature(name="rooms", optional=True), Feature(name="alley", categories=("Pave", "Gravel")))
    split = Split(
        inputs=np.array([[np.nan, 1], [3, 0]] * 10, dtype=np.float32),
        targets=np.array([[127_500], [0.25]] * 10, dtype=np.float32),
    )
    header, rows, note = table_cells(split, features=features, labels=["price"])
    assert header == ["rooms", "alley", "price"]
    assert rows[:2] == [["-", "Gravel", "127,500"], ["3", "Pave", "0.25"]]
    assert (len(rows), note) == (12, "8 rows more")
    wide = table_cells(split_of(3, 200), features=[Feature(name=f"x{n}") for n in range(200)], labels=["y"])
    assert (len(wide[0]), wide[2]) == (9, "192 features more")
    readable(draw_table(*wide[:2], title="wide", left=0, note=wide[2]))


def test_table_of_any_size_is_cut_to_what_can_be_read() -> None:
    figure = draw_table(["name", "value"], [["x" * 500, str(row)] for row in range(500)], title="long")
    readable(figure)
    assert "452 rows more are not shown" in texts(figure)
    assert max(map(len, texts(figure))) < 130


def predicted(name: str, rows: int, features: int, seed: int) -> Predicted:
    split = split_of(rows, features, seed=seed)
    off = split.targets + np.where(np.arange(rows) % 2, 0.5, -0.25)[:, None].astype(np.float32)
    return Predicted(name=name, inputs=split.inputs, targets=split.targets, predictions=off)


def test_fit_shows_both_splits_predictions_and_the_curve() -> None:
    train, test = predicted("train", 8, 1, 0), predicted("test", 4, 1, 1)
    places = curve_places(train.inputs, test.inputs)
    everything = np.concatenate([train.inputs, test.inputs])
    assert (places.min(), places.max()) == (everything.min(), everything.max())
    figure = draw_fit(train, test, (places, 2 * places), labels=["y"], name="x")
    readable(figure)
    axes = figure.axes[0]
    offsets = {part.get_label(): np.asarray(part.get_offsets()) for part in axes.collections}
    assert np.allclose(offsets["train"], np.hstack([train.inputs, train.targets]))
    assert np.allclose(offsets["test"], np.hstack([test.inputs, test.targets]))
    assert np.allclose(offsets["predictions"], np.hstack([test.inputs, test.predictions]))
    assert axes.get_title() == "mean absolute error: 0.375 in training, 0.375 in the test"
    assert say_fit(train, test, labels=["y"]).splitlines()[1] == "test: mean absolute error 0.375 over 4 rows"


def test_several_features_are_drawn_as_predicted_against_true() -> None:
    train, test = predicted("train", 8, 3, 0), predicted("test", 4, 3, 1)
    figure = draw_predicted_against_true(train, test, labels=["y"])
    readable(figure)
    offsets = [np.asarray(part.get_offsets()) for part in figure.axes[0].collections]
    assert np.allclose(offsets[1], np.hstack([test.targets, test.predictions]))
    same = draw_predicted_against_true(train, train, labels=["y"])
    assert len(same.axes[0].collections) == 1
    assert "train and test are the same rows" in same.axes[0].get_title()


# --- probabilities ---------------------------------------------------------------------------------------------------


def test_close_probabilities_are_no_answer() -> None:
    labels = ["pizza", "steak", "sushi"]
    assert say_doubt(np.array([0.3708, 0.3426, 0.2865]), labels) == (
        "the model does not know: pizza and steak are less than 0.1 apart"
    )
    assert say_doubt(np.array([0.2, 0.5, 0.3]), labels) == ""
    assert is_close(np.array([0.549, 0.451]))
    assert not is_close(np.array([0.551, 0.449]))
    assert not is_close(np.array([1.0]))  # of one class there is no doubt


@pytest.mark.parametrize("classes", [1, 2, 3, 100])
def test_bars_are_the_greatest_probabilities(classes: int) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(classes))
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    labels = [f"class {index} of a name that is long" for index in range(classes)]
    figure = draw_probabilities([("photo", image), ("seen", image)], values, labels, title="t", note="a\nb")
    readable(figure)
    bars = figure.axes[-1]
    widths = [patch.get_width() for patch in bars.patches]  # type: ignore[attr-defined]
    assert np.allclose(widths, np.sort(values)[::-1][:12])
    assert (f"{classes - 12} classes more" in bars.get_xlabel()) == (classes > 12)
    assert bars.get_xlim() == (0, 1)  # a probability is no more
    assert [text.get_text() for text in bars.texts] == [f"{value:.4f}" for value in np.sort(values)[::-1][:12]]


# --- layers ----------------------------------------------------------------------------------------------------------


def test_layers_are_those_that_the_notes_print() -> None:
    """Source: notes 003, S11: torchinfo's summary of [1, 3, 64, 64]."""
    recipe = RECIPES["food-tinyvgg"]
    network = build_network(recipe.factory, recipe.factory_args)
    summary = summarise_layers(network, torch.zeros(1, 3, 64, 64))
    assert [layer.parameters for layer in summary.layers if layer.parameters] == [280, 910, 910, 910, 7683]
    assert (summary.parameters, summary.trainable) == (10_693, 10_693)
    assert summary.mult_adds == 6_745_603
    convolution = summary.layers[2]
    assert (convolution.name, convolution.type, convolution.depth) == ("conv_block_1.0", "Conv2d", 2)
    assert (convolution.input_shape, convolution.output_shape) == ((1, 3, 64, 64), (1, 10, 64, 64))
    assert say_layers(summary).splitlines()[-3:] == [
        "parameters 10,693, of which 10,693 are trained",
        "mult-adds 6.75 M",
        "size: input 0.05 MB, forward and backward 0.82 MB, parameters 0.04 MB, total 0.91 MB",
    ]


def test_shared_layers_are_counted_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.layer.weight
            self.unused = nn.Linear(2, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.tied(self.layer(self.layer(inputs)))
            return outputs

    network = Twice()
    network.tied.bias.requires_grad_(requires_grad=False)
    summary = summarise_layers(network, torch.zeros(3, 4))
    assert [(layer.name, layer.parameters, layer.mult_adds) for layer in summary.layers] == [
        ("", 0, 0),
        ("layer", 20, 60),
        ("layer", 0, 60),
        ("tied", 4, 60),
    ]
    assert (summary.parameters, summary.trainable) == (27, 23)
    assert "shared" in say_layers(summary).splitlines()[3]
    assert network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", RECIPES)
def test_layers_of_every_recipe(name: str) -> None:
    recipe = RECIPES[name]
    network = build_network(recipe.factory, recipe.factory_args)
    row = (
        torch.zeros(1, len(recipe.features))
        if recipe.preprocessing is None
        else torch.zeros(1, *recipe.preprocessing.shape, dtype=torch.uint8)
    )
    summary = summarise_layers(network, build_input(recipe.features, recipe.mean, recipe.std)(row))
    assert summary.parameters == sum(layer.parameters for layer in summary.layers) == recipe.parameters
    assert summary.mult_adds >= recipe.parameters


# --- pieces ----------------------------------------------------------------------------------------------------------


def test_texts_are_cut_to_their_place() -> None:
    assert wrap("one two", inches=5) == "one two"
    assert max(map(len, wrap("word " * 100, inches=2).splitlines())) <= 26
    assert wrap("word " * 100, inches=2).count("\n") == 2
    assert wrap("", inches=2) == ""
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
    assert thin(10, 40) == list(range(10))
    assert thin(100, 40) == list(range(0, 100, 3))
    assert [number(value) for value in (float("nan"), 0.123456, 127_500.0, -3.0)] == ["-", "0.1235", "127,500", "-3"]


def test_picture_is_one_in_a_notebook_and_text_in_a_terminal(tmp_path: Path) -> None:
    picture = Picture(png=PNG, text="nine labels")
    assert picture._repr_png_() == PNG
    assert str(picture) == "nine labels"
    assert "png=" not in repr(picture)
    path = tmp_path / "deep" / "picture.png"
    picture.write(path)
    Picture(png=PNG + b"2", text="").write(str(path))
    assert path.read_bytes() == PNG + b"2"
    assert [entry.name for entry in path.parent.iterdir()] == ["picture.png"]


def test_picture_that_cannot_be_written(tmp_path: Path) -> None:
    picture = Picture(png=PNG, text="")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PictureError, match=r"file.photo\.png cannot be written \(.*\); free the place or give another"):
        picture.write(tmp_path / "file" / "photo.png")
    with pytest.raises(PictureError, match=r"photo\.jpg does not end in \.png, but pictures are PNG"):
        picture.write(tmp_path / "photo.jpg")
    with pytest.raises(PictureError, match="is a directory, but a file for the picture was expected"):
        picture.write(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
