"""The kinds that need a run: how it was trained, and what its network says."""

import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.preprocess import ImageError, decode_image, prepare_bytes
from train.curves import show_curves
from train.dataset import Split
from train.pictures import boundary, confusion, fit, gallery, points, probabilities
from train.pictures.layout import render
from train.pictures.picture import Picture, PictureError
from train.pictures.predict import Answers, as_answers, run_network
from train.pictures.request import Request, pick
from train.pictures.subject import load_model, read_data

GALLERY, GALLERY_COLUMNS = 9, 3
PHOTO_SIDE = 480
MOST_IMAGE_BYTES = 64 << 20


def draw_curves(request: Request) -> Picture:
    """Return the run's learning curves as training drew them."""
    assert request.subject.path is not None  # noqa: S101 - check_kind has seen that it is a run
    curves = show_curves(request.subject.path)
    return Picture(png=curves.png, text=curves.text)


def draw_boundary(request: Request) -> Picture:
    """Draw the regions of the classes, with the points of both splits."""
    spec, dataset = request.subject.spec, read_data(request.subject)
    network, input_module = load_model(request.subject)

    def answer(features: NDArray[np.float32]) -> Answers:
        return as_answers(run_network(network, input_module, features))

    plane = boundary.make_plane(np.concatenate([dataset.train.inputs, dataset.test.inputs]))
    splits = [
        boundary.Points(
            name=name,
            features=split.inputs,
            class_index=split.targets,
            predicted=answer(split.inputs).class_index,
        )
        for name, split in (("train", dataset.train), ("test", dataset.test))
    ]
    answers = answer(plane.points)
    figure = boundary.draw_boundary(
        plane, answers, splits, labels=spec.labels, names=[feature.name for feature in spec.features]
    )
    shares = np.bincount(answers.class_index, minlength=len(spec.labels)) / len(answers.class_index)
    areas = ", ".join(f"{label} {share:.0%}" for label, share in zip(spec.labels, shares, strict=True))
    lines = [*(points.title for points in splits), f"of the plane shown: {areas}", boundary.HINT]
    return render(figure, "\n".join(lines))


def draw_fit(request: Request) -> Picture:
    """Draw predictions beside what is true."""
    spec, dataset = request.subject.spec, read_data(request.subject)
    network, input_module = load_model(request.subject)
    train, test = (
        fit.Predicted(
            name=name,
            inputs=split.inputs,
            targets=split.targets,
            predictions=run_network(network, input_module, split.inputs).numpy(),
        )
        for name, split in (("train", dataset.train), ("test", dataset.test))
    )
    if len(spec.features) == 1 and not spec.features[0].categories:
        places = fit.curve_places(train.inputs, test.inputs)
        curve = places, run_network(network, input_module, places).numpy()
        figure = fit.draw_fit(train, test, curve, labels=spec.labels, name=spec.features[0].name)
    else:
        figure = fit.draw_predicted_against_true(train, test, labels=spec.labels)
    return render(figure, fit.say_fit(train, test, labels=spec.labels))


def _test_answers(request: Request) -> tuple[Split, Answers]:
    """Return the test split, and what the network says of it."""
    test = read_data(request.subject).test
    return test, as_answers(run_network(*load_model(request.subject), test.inputs))


def _some_answers(request: Request, most: int) -> tuple[list[int], Split, Answers]:
    """Return the places of a few rows of the test split, those rows, and what the network says of them."""
    test = read_data(request.subject).test
    chosen = pick(len(test), most, request.seed)
    rows = Split(inputs=test.inputs[chosen], targets=test.targets[chosen])
    return chosen, rows, as_answers(run_network(*load_model(request.subject), rows.inputs))


def draw_predictions(request: Request) -> Picture:
    """Draw a few random test images and what the network says of them."""
    subject = request.subject
    chosen, rows, answers = _some_answers(request, GALLERY)
    titles, colours, lines = gallery.say_predictions(answers, rows.targets, subject.spec.labels)
    right = int((answers.class_index == rows.targets).sum())
    title = f"{subject.name}: {right} of {len(chosen)} random test images right"
    figure = gallery.draw_gallery(rows.inputs, titles, columns=GALLERY_COLUMNS, colours=colours, title=title)
    return render(figure, "\n".join([title, *lines]))


def draw_errors(request: Request) -> Picture:
    """Draw the test images that were taken for another class, the most confident first."""
    subject = request.subject
    test, answers = _test_answers(request)
    wrong = gallery.worst_first(answers, test.targets)
    if not len(wrong):
        sentence = f"{subject.name}: none of the {len(test):,} test images is taken for another class"
        return render(gallery.draw_nothing(sentence), sentence)
    shown = wrong[:GALLERY]
    some = Answers(probabilities=answers.probabilities[shown], class_index=answers.class_index[shown])
    titles, colours, lines = gallery.say_predictions(some, test.targets[shown], subject.spec.labels)
    order = f"the {GALLERY} most confident" if len(wrong) > GALLERY else "the most confident first"
    title = f"{subject.name}: {len(wrong):,} of {len(test):,} test images wrong; {order}"
    figure = gallery.draw_gallery(test.inputs[shown], titles, columns=GALLERY_COLUMNS, colours=colours, title=title)
    return render(figure, "\n".join([title, *lines]))


def draw_confusion(request: Request) -> Picture:
    """Draw which classes of the test split are taken for which."""
    subject, labels = request.subject, request.subject.spec.labels
    test, answers = _test_answers(request)
    counts = confusion.count_confusions(test.targets, answers.class_index, len(labels))
    text = confusion.say_confusion(counts, labels)
    title = f"{subject.name}: {text.splitlines()[0]}"
    return render(confusion.draw_confusion(counts, labels, title=title), text)


def draw_probabilities(request: Request) -> Picture:
    """Draw how sure the network is of a test row, or of the user's own image."""
    subject, labels = request.subject, request.subject.spec.labels
    images: list[tuple[str, NDArray[np.uint8]]] = []
    notes = []
    if request.image is not None:
        photo, prepared = _read_image(request)
        answers = as_answers(run_network(*load_model(subject), prepared[np.newaxis]))
        images = [(request.image.name, photo), ("what the network gets", prepared)]
        truth = ""
        notes.append(f"a closed set: any image gets one of these {len(labels)} classes, whatever it shows")
    else:
        chosen, row, answers = _some_answers(request, 1)
        truth = f" | Truth: {labels[row.targets[0]]}"
        if subject.spec.preprocessing is not None:
            images = [(f"test image {chosen[0]:,}", row.inputs[0])]
        else:
            notes.append(f"test row {chosen[0]:,}: {points.say_row(row.inputs[0], subject.spec.features)}")
    values = answers.probabilities[0]
    shown = [probabilities.show_probability(value) for value in values]
    doubt = probabilities.say_doubt(values, labels)
    notes = [note for note in (doubt, *notes) if note]
    title = f"Pred: {labels[answers.class_index[0]]} | Prob: {shown[answers.class_index[0]]}{truth}"
    figure = probabilities.draw_probabilities(images, values, labels, title=title, note="\n".join(notes))
    bars = [f"  {labels[index]} {shown[index]}" for index in np.argsort(-values, kind="stable")]
    return render(figure, "\n".join([title, *bars[: probabilities.MOST_BARS], *notes]))


def _read_image(request: Request) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the user's image, upright and small enough to be shown, and as serving prepares it."""
    preprocessing = request.subject.spec.preprocessing
    assert request.image is not None  # noqa: S101 - the caller has seen it
    if preprocessing is None:
        raise PictureError(f"{request.subject.name} takes a table, but --image gives an image; leave it out")
    try:
        content = _read_bytes(request.image)
        prepared = prepare_bytes(content, preprocessing)
        photo = decode_image(content)
    except OSError as error:
        raise PictureError(f"{request.image} cannot be read ({error.strerror}); give an image file") from error
    except ImageError as error:
        raise PictureError(f"{request.image}: {error}") from error
    photo = photo.convert("RGB")
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    return np.asarray(photo, dtype=np.uint8), prepared


def _read_bytes(path: Path) -> bytes:
    """Return a file's bytes; what may have no end, such as a device or a pipe, is not even opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise PictureError(f"{path} is no regular file, but an image file was expected; give one")
    with path.open("rb") as file:
        content = file.read(MOST_IMAGE_BYTES + 1)
    if len(content) > MOST_IMAGE_BYTES:
        raise PictureError(
            f"{path} has more than {MOST_IMAGE_BYTES:,} bytes, which is the most of an image; give a smaller one"
        )
    return content
