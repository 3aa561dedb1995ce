"""The answers of a server and of batch prediction, read into the form in which they can be compared."""

import csv
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.recipes.recipe import Recipe
from train.reproduction.processes import StepError
from train.reproduction.samples import Answer, Samples

TIMEOUT_S = 60.0
ASKED_IMAGES = 8


def ask(port: int, recipe: Recipe, samples: Samples) -> list[Answer]:
    """Ask a server over HTTP: one request per image, of the first few, or one for all rows of a table.

    Raises:
        StepError: it answers with an error.
    """
    if samples.images:
        bodies = samples.images[:ASKED_IMAGES]
        return [_of_object(_post(port, recipe, body, "image/png"), recipe) for body in bodies]
    found = _post(port, recipe, samples.as_json(), "application/json")
    return [_of_object(row, recipe) for row in found["predictions"]]


def read_answers(table: Path, recipe: Recipe) -> list[Answer]:
    """Read what batch prediction wrote, CSV or Parquet.

    Raises:
        StepError: a row could not be predicted.
    """
    if table.suffix == ".csv":
        with table.open(encoding="utf-8", newline="") as lines:
            rows: list[dict[str, Any]] = list(csv.DictReader(lines))
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(table).to_pylist()
    failed = next((row["error"] for row in rows if row["error"]), None)
    if failed is not None:
        raise StepError(f"{table} has a row that was not predicted: {failed}")
    if recipe.task == "regression":
        return [Answer(label=None, values=tuple(float(row[name]) for name in recipe.labels)) for row in rows]
    names = [f"probability_{label}" for label in recipe.labels]
    return [Answer(label=row["label"], values=tuple(float(row[name]) for name in names)) for row in rows]


def _post(port: int, recipe: Recipe, body: bytes, kind: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/predict/{recipe.name}", body, {"Content-Type": kind})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise StepError(
            f"the server of {recipe.name} did not answer ({error!r}), but should have; see its log"
        ) from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        said = content[:200].decode(errors="replace")
        raise StepError(f"the server of {recipe.name} answered {response.status} ({said}), but 200 was expected")
    found: dict[str, Any] = json.loads(content)
    return found


def _of_object(found: Mapping[str, Any], recipe: Recipe) -> Answer:
    if recipe.task == "regression":
        return Answer(label=None, values=tuple(found["prediction"][name] for name in recipe.labels))
    return Answer(label=found["label"], values=tuple(found["probabilities"][label] for label in recipe.labels))
