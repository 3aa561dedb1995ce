"""The page that goes with a bundle: what it is, trained on what, how good, how proven."""

from serve.bundle import Feature, FileEntry, ImagePreprocessing, Provenance, TensorSpec

JUDGED = frozenset({"onnx", "torchscript", "exported-program"})
"""Formats whose files are graphs of their own: not copies, nor weights of others."""


def model_card(
    *,
    name: str,
    title: str,
    labels: tuple[str, ...],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    preprocessing: ImagePreprocessing | None,
    features: tuple[Feature, ...],
    provenance: Provenance,
    graphs: tuple[FileEntry, ...],
) -> str:
    """Return the card as Markdown."""

    def tensor(spec: TensorSpec) -> str:
        return f"| `{spec.name}` | {spec.dtype} | ({', '.join(str(dim) for dim in spec.shape)}) |"

    lines = [
        f"# {name}",
        "",
        f"{title}.",
        "",
        "## What goes in and what comes out",
        "",
        "| tensor | dtype | shape |",
        "|---|---|---|",
        *map(tensor, (*inputs, *outputs)),
        "",
        _inputs(preprocessing, features, tuple(spec.name for spec in inputs)),
        "",
        _answers(labels, regression=outputs[0].name == "prediction"),
        "",
        "## Training",
        "",
        *_training(provenance),
        "",
        "## How good",
        "",
        *_metrics(provenance),
        "",
        "## How proven",
        "",
        "`certificate.json` beside this card holds the verdict, once `python -m evaluate parity` has judged "
        + ", ".join(f"`{graph.path}`" for graph in graphs if graph.format in JUDGED)
        + ". Without that file nothing is proven."
        + ("" if provenance.dataset else " The bundle carries noise alone to prove itself with, no real samples."),
        "",
        *(f"- `{graph.path}`, when it was made: {graph.note}" for graph in graphs if graph.note),
        *([""] if any(graph.note for graph in graphs) else []),
    ]
    return "\n".join(lines)


def trained_here(provenance: Provenance) -> bool:
    """Return whether it was a run that trained the network: else nobody recorded on what it was trained."""
    return provenance.recipe is not None or "epochs" in provenance.training


def _training(provenance: Provenance) -> list[str]:
    built = f"`{provenance.factory}` {provenance.factory_args or ''}".rstrip() if provenance.factory else "from Python"
    lines = [f"- network: {built}"]
    if provenance.factory_sha256:
        lines.append(f"- its source file: sha256 {provenance.factory_sha256[:16]}…")
    here = trained_here(provenance)
    if not here:
        samples = f"{provenance.dataset}, sha256 {provenance.dataset_sha256[:16]}…" if provenance.dataset else "none"
        lines += ["- trained elsewhere: on what, nobody recorded", f"- samples given at export: {samples}"]
    else:
        lines.append(f"- data: {provenance.dataset}, sha256 {provenance.dataset_sha256[:16]}…")
    if provenance.training:
        lines.append(f"- {', '.join(f'{key} {value}' for key, value in provenance.training.items())}")
    if provenance.seed is not None:
        lines.append(f"- seed {provenance.seed}, on {provenance.device}")
    lines.append(f"- versions: {', '.join(f'{key} {value}' for key, value in provenance.versions.items())}")
    if here:
        lines.append(f"- source revision: {provenance.source_revision or 'not recorded'}")
    return lines


def _metrics(provenance: Provenance) -> list[str]:
    if not provenance.metrics:
        return ["Nothing was measured on a test split."]
    rows = [f"| {key.replace('_', ' ')} | {value:.4f} |" for key, value in provenance.metrics.items()]
    return ["| measured on the test split | |", "|---|---|", *rows]


def _inputs(preprocessing: ImagePreprocessing | None, features: tuple[Feature, ...], names: tuple[str, ...]) -> str:
    if preprocessing is not None:
        return (
            f"Images are decoded, turned upright, made {preprocessing.color}, fitted ({preprocessing.fit}) and resized "
            f"to {preprocessing.height} x {preprocessing.width} pixels; everything after that is inside the graph."
        )
    if not features:
        return f"Tensors as they are ({', '.join(names)}): whatever prepares them stays outside the graph."
    return f"Columns, raw; standardisation is inside the graph: {', '.join(feature.name for feature in features)}."


def _answers(labels: tuple[str, ...], *, regression: bool) -> str:
    if not labels:
        return "What the tensors mean, the bundle does not say."
    if regression:
        return f"It predicts {', '.join(labels)}."
    return f"It always answers with one of its {len(labels)} labels, whatever it is shown: {', '.join(labels)}."
