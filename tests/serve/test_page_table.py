"""The page's form for models of tables, in-process: fields in, the answer of the same queue out."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from serve.classifier import Classifier
from serve.page.table_form import choose_rows
from tests.serve.page_client import PageClient
from tests.serve.tiny_bundle import write_house_bundle

T = TypeVar("T")

# gradio 6.31 sets an option that pandas 3 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*future.no_silent_downcasting.*:DeprecationWarning")


def on_page(act: Callable[[PageClient], Awaitable[T]], classifier: Classifier) -> T:
    async def go() -> T:
        async with PageClient({classifier.name: classifier}) as client:
            return await act(client)

    return asyncio.run(go())


@pytest.mark.parametrize("task", ["regression", "classification", "binary-classification"])
def test_fields_give_what_http_gives(tmp_path: Path, task: Any) -> None:
    async def act(client: PageClient) -> None:
        reply = await client.ask("click", [2.5, "", -1])
        found = (await client.http.post("/predict/house", json={"rooms": 2.5, "area": -1})).json()
        assert reply.probabilities == found.get("probabilities")
        if task == "regression":
            assert reply.text == f"price: {found['prediction']['price']:.6g}"
        else:
            assert reply.text == f"{found['label']} with probability {found['probability']:.4f}"
        assert found["provenance"]["bundle_sha256"] in reply.details

    with Classifier.open(write_house_bundle(tmp_path / "b", task=task), provider="cpu", threads=1) as classifier:
        on_page(act, classifier)


def test_what_the_fields_cannot_mean_is_one_sentence(tmp_path: Path) -> None:
    async def act(client: PageClient) -> None:
        reply = await client.ask("click", [2.5, "Pave", None])
        assert reply.text == "Row 1, column &#x27;area&#x27; is empty, but a number was expected."
        reply = await client.ask("click", [2.5, "Mud<b>", 1])
        expected = "column &#x27;alley&#x27; has &#x27;Mud&lt;b&gt;&#x27;, but one of Gravel, Pave was expected."
        assert reply.text == f"Row 1, {expected}"

    with Classifier.open(write_house_bundle(tmp_path / "b"), provider="cpu", threads=1) as classifier:
        on_page(act, classifier)


def test_a_held_out_row_fills_the_fields_and_is_predicted(tmp_path: Path) -> None:
    async def act(client: PageClient) -> None:
        config = (await client.http.get("/config")).json()
        shown = {item["props"].get("label"): item["props"] for item in config["components"]}
        assert shown["rooms"]["value"] == 3
        assert shown["alley"]["value"] == "Pave"
        assert [word for _, word in shown["alley"]["choices"]] == ["", "Gravel", "Pave"]
        assert shown["Held-out rows"]["choices"][1] == ["rooms 2, alley missing, area 1.5", 1]
        event = await client.events("input")
        assert (await client.join(event, [1])).status_code == 200
        verdict, _, _, *fields = (await client.outcome())["output"]["data"]
        found = (await client.http.post("/predict/house", json={"rooms": 2, "area": 1.5})).json()
        assert f"<strong>{found['prediction']['price']:.6g}</strong>" in verdict
        assert fields == [2, "", 1.5]
        assert (await client.join(event, [9])).status_code == 200
        assert "There is no such row; reload the page." in json.dumps(await client.outcome())

    with Classifier.open(write_house_bundle(tmp_path / "b"), provider="cpu", threads=1) as classifier:
        rows = choose_rows(classifier)
        assert rows.shape == (4, 3)
        np.testing.assert_array_equal(rows[1], [2, math.nan, 1.5])
        on_page(act, classifier)
