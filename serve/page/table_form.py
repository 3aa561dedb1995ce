"""The page's form for a model of tables: a field per feature, the answer, and golden rows to begin with."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from serve.answer import Answer
from serve.bundle import Feature
from serve.classifier import Classifier
from serve.page.predict import DEADLINE_S, seen_or_sentence
from serve.page.show import certified, error_html, escaped, provenance_html
from serve.table import decode_row, encode_rows
from serve.verdict import Verdict, read_verdicts

MAX_EXAMPLES = 8
_AT_ONCE = 4
_HINT = '<p class="fx-note">The answer appears here: fill in the fields and press Predict, or choose a row below.</p>'

Shown = tuple[str, dict[str, float] | None, str]  # verdict or error, probabilities, details


def lay_out_table(classifier: Classifier) -> None:
    """Lay out the form of one model of tables; every prediction goes through the classifier's `submit`."""
    features = classifier.manifest.features
    examples = choose_rows(classifier)
    start = decode_row(examples[0], features) if len(examples) else {}
    proof = certified(classifier.bundle, classifier.precision)
    with gr.Row():
        with gr.Column(min_width=300):
            fields = [_field(feature, start.get(feature.name)) for feature in features]
            ask = gr.Button("Predict", variant="primary")
        with gr.Column(min_width=300):
            outputs = [
                gr.HTML(_HINT, apply_default_css=False),
                gr.Label(
                    label="Probabilities",
                    num_top_classes=10,
                    show_heading=False,
                    visible=classifier.manifest.task != "regression",
                ),
                gr.HTML("", apply_default_css=False),
            ]

    def asked(*cells: object) -> Shown:
        return show_row(classifier, proof, cells)

    _on(ask.click, asked, fields, outputs)
    if not len(examples):
        return
    words = [_words(decode_row(row, features)) for row in examples]
    chooser = gr.Dropdown(
        [(text, index) for index, text in enumerate(words)],
        value=None,
        label="Held-out rows",
        info="The model has never seen these. Choose one: it fills the fields and is predicted.",
    )

    def chosen(index: object) -> tuple[object, ...]:
        if not isinstance(index, int) or not 0 <= index < len(examples):
            return (error_html("There is no such row; reload the page."), None, "", *([gr.skip()] * len(fields)))
        row = decode_row(examples[index], features)
        cells = [_shown(row[feature.name], feature) for feature in features]
        return (*show_row(classifier, proof, cells), *cells)

    _on(chooser.input, chosen, [chooser], [*outputs, *fields])


def choose_rows(classifier: Classifier) -> NDArray[np.float32]:
    """Return the first golden held-out rows, each once, ``(at most MAX_EXAMPLES, features)``."""
    golden = classifier.golden()
    rows = golden.inputs[classifier.manifest.inputs[0].name]
    chosen: dict[bytes, NDArray[Any]] = {}
    for row, kind in zip(rows, golden.kind, strict=True):
        if kind == "held-out" and len(chosen) < MAX_EXAMPLES:
            chosen.setdefault(row.tobytes(), row)
    return np.array(list(chosen.values()), dtype=np.float32)


def show_row(classifier: Classifier, proof: str, cells: Sequence[object]) -> Shown:
    """Predict one row of fields, in the order of the features; return the answer, or why there is none."""
    features = classifier.manifest.features

    def predict() -> Answer:
        row = {feature.name: cell for feature, cell in zip(features, cells, strict=True)}
        inputs = {classifier.manifest.inputs[0].name: encode_rows([row], features)}
        return classifier.submit(inputs, deadline_s=DEADLINE_S).result(timeout=2 * DEADLINE_S)

    answer = seen_or_sentence(predict)
    if isinstance(answer, str):
        return error_html(answer), None, ""
    (verdict,) = read_verdicts(classifier.manifest, answer.outputs)
    probabilities = None if verdict.label is None else verdict.values
    return row_html(verdict), probabilities, provenance_html(answer, classifier, proof)


def row_html(verdict: Verdict) -> str:
    """Return the answer in words: the label with its probability, or each predicted value."""
    if verdict.label is not None:
        said = f"<strong>{escaped(verdict.label)}</strong> with probability <strong>{verdict.probability:.4f}</strong>"
        return f'<div role="status"><p class="fx-verdict">{said}</p></div>'
    values = "".join(
        f'<p class="fx-verdict">{escaped(name)}: <strong>{value:.6g}</strong></p>'
        for name, value in verdict.values.items()
    )
    return f'<div role="status">{values}</div>'


def _field(feature: Feature, value: float | str | None) -> gr.Number | gr.Dropdown:
    info = "may be left empty" if feature.optional else None
    if not feature.categories:
        return gr.Number(value=value if isinstance(value, float) else None, label=feature.name, info=info)
    choices: list[tuple[str, str]] = [(word, word) for word in feature.categories]
    if feature.optional and "" not in feature.categories:
        choices.insert(0, ("(missing)", ""))
    return gr.Dropdown(choices, value=_shown(value, feature), label=feature.name, info=info)


def _shown(value: float | str | None, feature: Feature) -> float | str | None:
    """Return what a field shows for a value: a gap in a list of words is the choice that says so."""
    return "" if value is None and feature.categories and feature.optional else value


def _words(row: dict[str, float | str | None]) -> str:
    return ", ".join(
        f"{name} {'missing' if cell is None else f'{cell:.6g}' if isinstance(cell, float) else cell}"
        for name, cell in row.items()
    )


def _on(listener: Callable[..., Any], answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    """Connect an event; what was typed arrives as it was sent, and `encode_rows` judges it."""
    listener(
        answer,
        inputs=inputs,
        outputs=outputs,
        preprocess=False,
        api_visibility="private",
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_limit=_AT_ONCE,
        concurrency_id="predict",
    )
