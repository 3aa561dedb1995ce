"""The kinds that need no training: the data, its variations, and the layers."""

import numpy as np
import torch

from serve.bundle import Feature
from train.augment import AUGMENTATIONS
from train.dataset import Split
from train.pictures import gallery, layers, points
from train.pictures.layout import render
from train.pictures.picture import Picture
from train.pictures.request import Request, pick
from train.pictures.subject import load_model, read_data
from train.pictures.table import draw_table

SAMPLES, SAMPLE_COLUMNS = 16, 4
VARIED, VARIATIONS = 4, 5


def draw_samples(request: Request) -> Picture:
    """Draw what there is to be learnt: images in a grid, points, or the first rows of a table."""
    subject, spec = request.subject, request.subject.spec
    dataset = read_data(subject)
    train, test, names = dataset.train, dataset.test, [feature.name for feature in spec.features]
    counts = f"{dataset.name}: {len(train):,} training and {len(test):,} test rows"
    if spec.preprocessing is not None:
        chosen = pick(len(train), SAMPLES, request.seed)
        titles = [spec.labels[index] for index in train.targets[chosen]]
        title = f"{subject.name}: {len(chosen)} of {len(train):,} training images, as the network gets them"
        figure = gallery.draw_gallery(train.inputs[chosen], titles, columns=SAMPLE_COLUMNS, title=title)
        return render(figure, f"{counts}; shown: {', '.join(titles)}")
    plain = len(spec.features) <= 2 and not any(feature.categories for feature in spec.features)
    if plain and spec.task == "regression":
        figure = points.draw_values(train, test, labels=spec.labels, names=names)
    elif plain and len(spec.features) == 2:
        figure = points.draw_classes(train, test, labels=spec.labels, names=names)
    else:
        header, rows, note = points.table_cells(train, features=spec.features, labels=spec.labels)
        some = f"{len(rows)} of " if len(rows) < len(train) else ""
        title = f"{subject.name}: {some}{len(train):,} training rows"
        figure = draw_table(header, rows, title=title, left=0, note=note)
    return render(
        figure, f"{counts}; {points.say_columns(train.inputs, spec.features)}; {_say_targets(train, spec.labels)}"
    )


def _say_targets(train: Split, labels: tuple[str, ...]) -> str:
    if train.targets.ndim == 2:
        return points.say_columns(train.targets, tuple(Feature(name=label) for label in labels))
    counts = np.bincount(train.targets, minlength=len(labels))
    return ", ".join(f"{count:,} of {label}" for label, count in zip(labels, counts, strict=True))


def draw_augmented(request: Request) -> Picture:
    """Draw a few training images, each beside variations of it."""
    subject, spec = request.subject, request.subject.spec
    train = read_data(subject).train
    chosen = pick(len(train), VARIED, request.seed)
    augment = AUGMENTATIONS[spec.augmentation or ""]
    generator = torch.Generator().manual_seed(request.seed)
    originals = train.inputs[chosen]
    varied = [augment(torch.from_numpy(originals), generator).numpy() for _ in range(VARIATIONS)]
    images = np.stack([image for row in zip(originals, *varied, strict=True) for image in row])
    labels = [spec.labels[index] for index in train.targets[chosen]]
    titles = [title for label in labels for title in (label, *[""] * VARIATIONS)]
    title = f"{subject.name}: training images, and {VARIATIONS} variations of each by {spec.augmentation}"
    figure = gallery.draw_gallery(images, titles, columns=1 + VARIATIONS, title=title)
    return render(figure, f"{title}: {', '.join(labels)}")


def draw_layers(request: Request) -> Picture:
    """Draw the table of layers; it is the text, too."""
    subject, spec = request.subject, request.subject.spec
    network, input_module = load_model(subject)
    row = (
        torch.zeros(1, len(spec.features))
        if spec.preprocessing is None
        else torch.zeros(1, *spec.preprocessing.shape, dtype=torch.uint8)
    )
    summary = layers.summarise_layers(network, input_module(row))
    figure = draw_table(
        layers.HEADER, layers.layer_rows(summary), title=subject.name, left=2, note="\n" + layers.say_totals(summary)
    )
    return render(figure, layers.say_layers(summary))
