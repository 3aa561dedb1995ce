"""What a bundle is asked, as files and bodies, and what the run's own network says to it in PyTorch."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from serve.preprocess import prepare_bytes
from serve.table import decode_row
from train.loop import decide
from train.reproduction.measure import Trained

IMAGES = 64
ROWS = 200
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row's answer: a label and its probabilities, or, for a regression, predicted values alone."""

    label: str | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Test rows, ready to be asked, with the answers that are right.

    Attributes:
        images: PNG files; empty for tables.
        rows: Rows of a table, by column; empty for images.
        expected: The run's own network's answers, one each.
    """

    images: tuple[bytes, ...]
    rows: tuple[dict[str, float | str | None], ...]
    expected: tuple[Answer, ...]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write a folder of PNG files, or a CSV and a Parquet file; return what batch prediction is to read."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.images:
            for index, content in enumerate(self.images):
                (folder / f"{index:05d}.png").write_bytes(content)
            return (folder,)
        import pyarrow as pa
        import pyarrow.parquet

        (folder / "rows.csv").write_text(self.as_csv(), encoding="utf-8", newline="")
        pa.parquet.write_table(pa.Table.from_pylist(list(self.rows)), folder / "rows.parquet")
        return folder / "rows.csv", folder / "rows.parquet"

    def as_csv(self) -> str:
        """Return the rows as CSV; what is missing is an empty cell."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def as_json(self) -> bytes:
        """Return the rows as a request's body."""
        return json.dumps(self.rows).encode()


def draw_samples(trained: Trained) -> Samples:
    """Take the first test rows, and let the run's network answer them in PyTorch."""
    recipe, inputs = trained.recipe, trained.dataset.test.inputs
    if recipe.preprocessing is None:
        table = inputs[:ROWS]
        rows = tuple(decode_row(row, recipe.features) for row in table)
        return Samples(images=(), rows=rows, expected=_answers(trained, table))
    images = tuple(_as_png(image) for image in inputs[:IMAGES])
    prepared = np.stack([prepare_bytes(image, recipe.preprocessing) for image in images])
    return Samples(images=images, rows=(), expected=_answers(trained, prepared))


def differences(actual: Sequence[Answer], expected: Sequence[Answer]) -> int:
    """Count the rows whose label is another, or whose values are further off than `TOLERANCE` of the greatest value."""
    if len(actual) != len(expected):
        return max(len(actual), len(expected))
    scale = max(1.0, *(abs(value) for answer in expected for value in answer.values))
    return sum(not _same(have, want, TOLERANCE * scale) for have, want in zip(actual, expected, strict=True))


def _same(have: Answer, want: Answer, tolerance: float) -> bool:
    return (
        have.label == want.label
        and len(have.values) == len(want.values)
        and all(abs(a - b) <= tolerance for a, b in zip(have.values, want.values, strict=True))
    )


def _answers(trained: Trained, inputs: NDArray[np.generic]) -> tuple[Answer, ...]:
    with torch.inference_mode():
        outputs = trained.network(trained.input_module(torch.from_numpy(inputs)))
    labels = trained.recipe.labels
    if trained.recipe.task == "regression":
        return tuple(Answer(label=None, values=tuple(row)) for row in outputs.tolist())
    positive = outputs.sigmoid() if trained.recipe.task == "binary-classification" else None
    probabilities = outputs.softmax(dim=1) if positive is None else torch.cat([1 - positive, positive], dim=1)
    return tuple(
        Answer(label=labels[index], values=tuple(row))
        for index, row in zip(decide(outputs).tolist(), probabilities.tolist(), strict=True)
    )


def _as_png(image: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(content, "PNG")
    return content.getvalue()
