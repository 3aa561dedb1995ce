"""The page's own pieces of HTML: what the model saw, what answered, the examples; every text in them is escaped."""

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve.announce import read_certified
from serve.answer import Answer
from serve.bundle import Bundle, Manifest, Precision
from serve.classifier import Classifier
from serve.page.predict import Seen
from serve.verdict import tensors_sentence

CLOSE_CALL = 0.15
MAX_EXAMPLES = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A golden image with its true label; `pixels` is ``(1, height, width, channels)``, uint8."""

    label: str
    pixels: NDArray[np.uint8]


def certified(bundle: Bundle, precision: Precision = "float32") -> str:
    """Say what the certificate says of the graph that runs: ``certified``, ``parity FAILED`` or ``not certified``."""
    said = read_certified(bundle, precision)
    return {"passed": "certified", "failed": "parity FAILED", "unproven": "parity UNPROVEN"}.get(said, "not certified")


def choose_examples(classifier: Classifier) -> list[Example]:
    """Choose golden held-out images: as many classes as fit, each class in turn.

    Returns:
        At most `MAX_EXAMPLES`, ordered by class; empty where the bundle holds no labelled images.
    """
    golden, labels = classifier.golden(), classifier.manifest.labels
    images = golden.inputs[classifier.manifest.inputs[0].name]
    by_class: dict[int, list[int]] = {}
    for row, (index, kind) in enumerate(zip(golden.class_index, golden.kind, strict=True)):
        if kind == "held-out" and 0 <= index < len(labels):
            by_class.setdefault(int(index), []).append(row)
    rounds = max((len(rows) for rows in by_class.values()), default=0)
    in_turn = [(turn, index) for turn in range(rounds) for index in sorted(by_class) if turn < len(by_class[index])]
    chosen = sorted((index, by_class[index][turn]) for turn, index in in_turn[:MAX_EXAMPLES])
    return [Example(label=labels[index], pixels=images[row : row + 1]) for index, row in chosen]


def title_html(manifest: Manifest) -> str:
    """Return the page's, or the tab's, heading."""
    recipe = f"Recipe {manifest.provenance.recipe}. " if manifest.provenance.recipe else ""
    subtitle = f"{recipe}The model you serve is the model you trained."
    return f'<div class="fx-title"><h1>{escaped(manifest.name)}</h1><p>{escaped(subtitle)}</p></div>'


def tables_html(name: str) -> str:
    """Say that this model takes no pictures, and where it takes its numbers."""
    url = f"/v2/models/{escaped(name)}/infer"
    return f'<p class="fx-note">This model takes no pictures but numbers: send them to <code>{url}</code>.</p>'


def tensors_html(manifest: Manifest) -> str:
    """Say that this model's answers are tensors, for programs and not for this page."""
    sentence = tensors_sentence(manifest)
    return f'<p class="fx-note">{escaped(sentence[0].upper() + sentence[1:])}.</p>'


def examples_html(examples: list[Example], name: str) -> str:
    """Return one button per example, in order."""
    buttons = "".join(
        f'<button type="button" class="fx-example" data-index="{position}" '
        f'aria-label="Example: {escaped(example.label)}">'
        f'<img src="{png_url(example.pixels[0])}" alt=""><span>{escaped(example.label)}</span></button>'
        for position, example in enumerate(examples)
    )
    note = "The model has never seen these. Click one: its exact pixels go to the model."
    return (
        f'<h2 class="fx-heading">Held-out images</h2><p class="fx-note">{note}</p>'
        f'<div class="fx-examples" role="group" aria-label="Held-out images for {escaped(name)}">{buttons}</div>'
    )


def verdict_html(seen: Seen, source: str, truth: str | None = None) -> str:
    """Return the answer in words, with a warning where a second label is nearly as likely.

    Args:
        seen: The prediction.
        source: What was predicted, such as ``Drawing``.
        truth: Its true label, where it is known.
    """
    ranked = sorted(seen.verdict.values.items(), key=lambda item: item[1], reverse=True)
    (best, first), (runner_up, second) = ranked[0], ranked[1]
    parts = [
        f'<p class="fx-source">{escaped(source)}</p>',
        f'<p class="fx-verdict"><strong>{escaped(best)}</strong> with probability <strong>{first:.4f}</strong></p>',
    ]
    if truth is not None:
        agrees = "which agrees" if truth == best else "so this answer is wrong"
        parts.append(f'<p class="fx-note">The true label is {escaped(truth)}, {agrees}.</p>')
    if not first - second >= CLOSE_CALL:
        close = f"Close call: {escaped(runner_up)} has {second:.4f}. Do not rely on this answer."
        parts.append(f'<p class="fx-note fx-close">{close}</p>')
    return f'<div role="status">{"".join(parts)}</div>'


def details_html(seen: Seen, classifier: Classifier, proof: str) -> str:
    """Return what the model saw, enlarged, and what answered."""
    height, width, _ = seen.pixels.shape
    picture = f'<img class="fx-seen" src="{png_url(seen.pixels)}" alt="The image as the model saw it">'
    caption = f"<figcaption>What the model saw: {width} by {height} pixels</figcaption>"
    return f'<figure class="fx-figure">{picture}{caption}</figure>{provenance_html(seen.answer, classifier, proof)}'


def provenance_html(answer: Answer, classifier: Classifier, proof: str) -> str:
    """Return what answered."""
    facts = (
        (
            "bundle",
            f'{escaped(classifier.name)} <span title="{answer.bundle_sha256}">{answer.bundle_sha256[:12]}</span>',
        ),
        ("proof", escaped(proof)),
        ("provider", escaped(answer.provider)),
        ("precision", escaped(answer.precision)),
        ("batch", str(answer.batch_size)),
        ("queue", f"{answer.queue_ms:.1f} ms"),
        ("run", f"{answer.run_ms:.1f} ms"),
    )
    provenance = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in facts)
    return f'<dl class="fx-provenance">{provenance}</dl>'


def hint_html(*, drawing: bool) -> str:
    """Say how to begin, where the answer will stand."""
    ways = "draw, give an image, or click an example" if drawing else "give an image, or click an example"
    return f'<p class="fx-note">The answer appears here: {ways}.</p>'


def error_html(message: str) -> str:
    """Return a message that screen readers speak at once."""
    return f'<p class="fx-error" role="alert">{escaped(message)}</p>'


def closed_set_html(labels: tuple[str, ...]) -> str:
    """Say what a classifier cannot say: none of these."""
    shown = ", ".join(labels[:12]) + (", …" if len(labels) > 12 else "")
    return (
        f'<p class="fx-note">Closed set: the answer is always one of these {len(labels)} labels, '
        f"whatever the image shows: {escaped(shown)}.</p>"
    )


def png_url(pixels: NDArray[np.uint8]) -> str:
    """Return an image, ``(height, width, 1 or 3)``, uint8, as a PNG in a data URL: exact, and no file."""
    target = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(target, "PNG")
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def escaped(text: str) -> str:
    """Return text that is text in HTML, and in Gradio's templates too, which would run what stands in braces."""
    safe = html.escape(text)
    for sign in "{}$`":
        safe = safe.replace(sign, f"&#{ord(sign)};")
    return safe
