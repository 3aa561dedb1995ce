"""What a browser does with the page, in-process: read the configuration, upload, send an event, read the answer."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from serve.classifier import Classifier
from serve.http import create_app
from serve.page.lazy import LazyPage

_SESSION = "session0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the page shows after an event."""

    verdict: str
    probabilities: dict[str, float] | None
    details: str

    @property
    def text(self) -> str:
        """The verdict without its markup."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.verdict).split())


class PageClient:
    """A server with a page; use as an asynchronous context."""

    def __init__(self, classifiers: Mapping[str, Classifier]) -> None:
        self.page = LazyPage(classifiers)
        transport = httpx.ASGITransport(create_app(classifiers, page=self.page))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        await self.page.aclose()

    async def upload(self, name: str, data: bytes) -> str:
        """Upload a file as the browser does, and return its path on the server."""
        response = await self.http.post("/gradio_api/upload", files={"files": (name, data, "image/png")})
        assert response.status_code == 200, response.text
        return str(response.json()[0])

    async def events(self, name: str, position: int = 0) -> int:
        """Return the number of the event of that name; `position` counts those of several bundles."""
        config = (await self.http.get("/config")).json()
        found = [item["id"] for item in config["dependencies"] if any(target[1] == name for target in item["targets"])]
        return int(found[position])

    async def join(self, event: int, data: list[Any], event_data: object = None) -> httpx.Response:
        """Put an event into Gradio's queue."""
        body = {"data": data, "event_data": event_data, "fn_index": event, "session_hash": _SESSION}
        return await self.http.post("/gradio_api/queue/join", json=body)

    async def outcome(self) -> dict[str, Any]:
        """Return the last message about the event that was put into the queue."""
        stream = await self.http.get(f"/gradio_api/queue/data?session_hash={_SESSION}")
        messages = [json.loads(line.removeprefix("data: ")) for line in stream.text.splitlines() if line]
        return next(dict(message) for message in messages if message["msg"] == "process_completed")

    async def ask(self, name: str, data: list[Any], event_data: object = None, *, position: int = 0) -> Reply:
        """Send an event and return what the page then shows."""
        response = await self.join(await self.events(name, position), data, event_data)
        assert response.status_code == 200, response.text
        outcome = await self.outcome()
        assert outcome["success"], outcome
        verdict, label, details = outcome["output"]["data"]
        confidences = None if label is None else label.get("confidences")
        probabilities = None if confidences is None else {item["label"]: item["confidence"] for item in confidences}
        return Reply(verdict=verdict, probabilities=probabilities, details=details)

    async def ask_image(self, path: str, *, position: int = 0) -> Reply:
        """Say that the image has changed to an uploaded file."""
        return await self.ask("change", [file_data(path)], position=position)


def file_data(path: str, *, url: str | None = None) -> dict[str, Any]:
    """Return what the browser sends for a file."""
    return {"path": path, "url": url, "orig_name": "photo.png", "meta": {"_type": "gradio.FileData"}}
