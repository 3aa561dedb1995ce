"""The Gradio page: a person's way to the same queue that HTTP and gRPC use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.applications import Starlette

from serve.classifier import Classifier
from serve.page.gate import ASGIApp, PageGate
from serve.page.predict import Seen, see_drawing, see_file, see_pixels, seen_or_sentence
from serve.page.show import (
    certified,
    choose_examples,
    closed_set_html,
    details_html,
    error_html,
    examples_html,
    hint_html,
    tables_html,
    tensors_html,
    title_html,
    verdict_html,
)
from serve.page.table_form import lay_out_table
from serve.page.uploads import DELETE_AFTER_S, MAX_TOTAL_BYTES

MAX_UPLOAD_BYTES = 32 << 20
_HERE = Path(__file__).parent
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
_SESSIONS = 256  # what Gradio remembers of visitors; the page itself keeps nothing there
_WAITING = 64
_AT_ONCE = 4
_DELETE_EVERY_S = 300

Shown = tuple[str, dict[str, float] | None, str]  # verdict or error, probabilities, details


def build_app(classifiers: Mapping[str, Classifier], upload_folder: Path) -> tuple[Starlette, ASGIApp]:
    """Return the app whose lifespan is to be run, and the gate that requests are to go through.

    Args:
        classifiers: By name.
        upload_folder: Where Gradio keeps uploads.
    """
    host = Starlette()
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=_FONTS,
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
    gr.mount_gradio_app(
        host,  # Gradio (6.31) says that it wants a FastAPI, but mounts into whatever has a Starlette's router
        build_page(classifiers),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_UPLOAD_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css_paths=[_HERE / "page.css"],
    )
    return host, PageGate(
        host, upload_folder=upload_folder, max_upload_bytes=MAX_UPLOAD_BYTES, max_total_bytes=MAX_TOTAL_BYTES
    )


def build_page(classifiers: Mapping[str, Classifier]) -> gr.Blocks:
    """Lay out the page: one tab per bundle where there are several.

    Args:
        classifiers: By name; every prediction goes through their `submit`.

    Returns:
        The page with its queue; to be served behind a `PageGate` only.
    """
    title = f"{next(iter(classifiers))} · Facsimile" if len(classifiers) == 1 else "Facsimile"
    page = gr.Blocks(title=title, analytics_enabled=False, delete_cache=(_DELETE_EVERY_S, DELETE_AFTER_S))
    with page:
        if len(classifiers) == 1:
            _lay_out(next(iter(classifiers.values())))
        else:
            with gr.Tabs():
                for name, classifier in classifiers.items():
                    with gr.Tab(name):
                        _lay_out(classifier)
    page.queue(max_size=_WAITING, api_open=False)
    page.state_session_capacity = _SESSIONS
    # Gradio 6.31 checks paths only in apps that it launched itself, not in mounted ones; PageGate checks them before
    page.has_launched = True
    return page


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Panel:
    """One bundle's outputs on the page, and how its events fill them."""

    classifier: Classifier
    proof: str
    outputs: tuple[Any, ...]
    nothing: Shown

    def on(self, listener: Callable[..., Any], answer: Callable[..., Shown], *inputs: gr.Image) -> None:
        """Connect an event; files arrive as they were uploaded, not as Gradio would convert them."""
        listener(
            answer,
            inputs=list(inputs),
            outputs=list(self.outputs),
            preprocess=False,
            api_visibility="private",
            show_progress="minimal",
            trigger_mode="always_last",
            concurrency_limit=_AT_ONCE,
            concurrency_id="predict",
        )

    def show(self, source: str, predict: Callable[[], Seen], *, truth: str | None = None) -> Shown:
        """Fill the outputs with a prediction, or with the sentence that says why there is none."""
        seen = seen_or_sentence(predict)
        if isinstance(seen, str):
            return _error(seen)
        return verdict_html(seen, source, truth), seen.verdict.values, details_html(seen, self.classifier, self.proof)


def _lay_out(classifier: Classifier) -> None:
    manifest = classifier.manifest
    _html(title_html(manifest))
    if manifest.task == "tensors":
        _html(tensors_html(manifest))
        return
    if manifest.features:
        lay_out_table(classifier)
        return
    if manifest.preprocessing is None or manifest.task == "regression":
        _html(tables_html(classifier.name))
        return
    pad = None
    hint = hint_html(drawing=manifest.preprocessing.drawing)
    with gr.Row():
        with gr.Column(min_width=300), gr.Tabs():
            if manifest.preprocessing.drawing:
                with gr.Tab("Draw"):
                    pad = gr.HTML(
                        html_template=_text("canvas.html"), js_on_load=_text("canvas.js"), apply_default_css=False
                    )
            with gr.Tab("Image"):
                image = gr.Image(
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "webcam", "clipboard"],
                    label="Image: upload, camera or clipboard",
                    height=340,
                    buttons=[],
                )
                again = gr.Button("Predict", variant="primary")
        with gr.Column(min_width=300):
            outputs = (
                _html(hint, name="fx-answer"),
                gr.Label(label="Probabilities", num_top_classes=10, show_heading=False),
                _html(""),
            )
            _html(closed_set_html(manifest.labels))
    panel = _Panel(
        classifier=classifier,
        proof=certified(classifier.bundle, classifier.precision),
        outputs=outputs,
        nothing=(hint, None, ""),
    )
    if pad is not None:
        _connect_pad(panel, pad)
    _connect_image(panel, image, again)
    _lay_out_examples(panel)


def _connect_pad(panel: _Panel, pad: gr.HTML) -> None:
    def drawn(event: gr.EventData) -> Shown:
        return panel.show("Drawing", lambda: see_drawing(panel.classifier, _sent(event, "image")))

    panel.on(pad.submit, drawn)
    panel.on(pad.clear, lambda: panel.nothing)


def _connect_image(panel: _Panel, image: gr.Image, again: gr.Button) -> None:
    def changed(file: object) -> Shown:
        if file is None:
            return panel.nothing
        path = file.get("path") if isinstance(file, dict) else None
        if not isinstance(path, str):
            return _error("The image arrived without a file; upload it again.")
        return panel.show("Image", lambda: see_file(panel.classifier, Path(path)))

    def asked(file: object) -> Shown:
        return changed(file) if file else _error("There is no image yet: upload one, take one or paste one.")

    panel.on(image.change, changed, image)
    panel.on(again.click, asked, image)


def _lay_out_examples(panel: _Panel) -> None:
    examples = choose_examples(panel.classifier)
    if not examples:
        return
    row = _html(examples_html(examples, panel.classifier.name), js_on_load=_text("examples.js"))

    def chosen(event: gr.EventData) -> Shown:
        index = _sent(event, "index")
        if not isinstance(index, int) or not 0 <= index < len(examples):
            return _error("There is no such example; reload the page.")
        example = examples[index]
        return panel.show("Held-out image", lambda: see_pixels(panel.classifier, example.pixels), truth=example.label)

    panel.on(row.select, chosen)


def _sent(event: gr.EventData, name: str) -> object:
    """Return what the browser sent with an event under a name, or None."""
    return event._data.get(name) if isinstance(event._data, dict) else None


def _error(message: str) -> Shown:
    return error_html(message), None, ""


def _html(value: str, *, js_on_load: str | None = None, name: str | None = None) -> gr.HTML:
    return gr.HTML(value, apply_default_css=False, js_on_load=js_on_load, elem_classes=name)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
