"""What a bundle is, in words: name, origin, digests, contract, versions."""

from evaluate.report.findings import Findings
from evaluate.report.words import clamp, shape
from evaluate.tables import size
from export.model_card import trained_here
from serve.bundle import ImagePreprocessing, Manifest, Provenance

Fact = tuple[str, str]
_MOST_NAMED = 24


def line_of(found: Findings) -> tuple[str, ...]:
    """Return what tells a bundle from others at a glance."""
    manifest, graphs = found.manifest, found.certificate.graphs
    data = manifest.provenance.dataset
    trained = (f"trained on {data}",) if data else ()
    return (
        manifest.task,
        *(trained if trained_here(manifest.provenance) else ("trained elsewhere",)),
        ", ".join(dict.fromkeys(graph.graph for graph in graphs)) or "no graph judged",
        f"bundle {manifest.sha256[:16]}",
    )


def facts_of(found: Findings) -> tuple[Fact, ...]:
    """Return what a bundle is and where it comes from; a term and what is said of it."""
    manifest = found.manifest
    origin, here = manifest.provenance, trained_here(manifest.provenance)
    arguments = ", ".join(f"{name}={value}" for name, value in origin.factory_args.items())
    facts = [
        ("recipe", origin.recipe or f"none; {'images' if here else 'a network'} of one's own"),
        ("network", f"{origin.factory}({arguments})"),
        ("trained on", _data(origin, "not recorded") if here else "elsewhere: on what, nobody recorded"),
        ("samples given at export", "" if here else _data(origin, "none")),
        ("trained with", _training(manifest)),
        ("seed", "" if origin.seed is None else str(origin.seed)),
        ("device", origin.device),
        ("source revision", origin.source_revision or ("not recorded" if here else "")),
        ("trained and exported by" if here else "exported by", _versions(origin.versions)),
        ("bundle sha256", manifest.sha256),
    ]
    return tuple((term, text) for term, text in facts if text)


def contract_of(manifest: Manifest) -> tuple[Fact, ...]:
    """Return what a bundle takes and gives."""
    facts = [(f"input {spec.name}", f"{spec.dtype}, {shape(spec.shape)}") for spec in manifest.inputs]
    if manifest.preprocessing is not None:
        facts.append(("images are", _preprocessing(manifest.preprocessing)))
    if manifest.features:
        names = [
            feature.name + (f" ({' / '.join(feature.categories)})" if feature.categories else "")
            for feature in manifest.features
        ]
        facts.append(("features", _some(names)))
    facts += [(f"output {spec.name}", f"{spec.dtype}, {shape(spec.shape)}") for spec in manifest.outputs]
    if manifest.labels:
        named = "targets" if manifest.task == "regression" else f"{len(manifest.labels):,} classes"
        facts.append((named, _some(manifest.labels)))
    if not manifest.row_independent:
        facts.append(("rows", "depend on the rows beside them, so each is run alone"))
    return tuple(facts)


def graph_size(found: Findings, graph: str) -> str | None:
    """Return the size of a graph with its weights, for people."""
    sizes = [entry.size_bytes for entry in found.manifest.files if entry.path in {graph, f"{graph}.data"}]
    return size(sum(sizes)) if sizes else None


def _data(origin: Provenance, without: str) -> str:
    return f"{origin.dataset}, sha256 {origin.dataset_sha256[:16]}…" if origin.dataset else without


def _training(manifest: Manifest) -> str:
    known = {name: value for name, value in manifest.provenance.training.items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in known.items())


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _preprocessing(spec: ImagePreprocessing) -> str:
    fit = {"stretch": "stretched", "crop": f"resized to {spec.resize} and cropped", "ink": "cut out around the ink"}
    colour = "grey" if spec.color == "L" else "RGB"
    return f"{fit[spec.fit]} to {shape((spec.width, spec.height))} pixels, {colour}, {spec.interpolation}"


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(clamp, names[:_MOST_NAMED])) + more
