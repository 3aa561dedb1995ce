"""What follows from the verdicts on graphs: the certificate, how each precision stands, what a server must know."""

import platform
from datetime import UTC, datetime

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch

from evaluate.certificate import WORST_FIRST, Certificate, Check, Labelled, Setting, Standing
from evaluate.graph_verdict import GraphVerdict, HeldWeights
from evaluate.reduced import REDUCED_RULE
from evaluate.request import Request
from evaluate.source import HeldOut
from evaluate.truth import Truth
from evaluate.ways import graph_files
from evaluate.worst import SOUGHT
from serve.bundle import SCHEMA_VERSION, Bundle, Coarse, Precision
from serve.decisions import decide
from serve.devices import usable_cpus
from serve.parity import MAX_FACTOR, RMSE_FACTOR

RULE = (
    f"rmse(graph, reference) <= {RMSE_FACTOR:g} x max(rmse(eager, reference), 1 ulp) and "
    f"max|graph - reference| <= {MAX_FACTOR:g} x max(max|eager - reference|, 1 ulp); reference is eager in float64"
)


def conclude(
    bundle: Bundle,
    *,
    checks: tuple[Check, ...],
    graphs: list[GraphVerdict],
    setting: Setting,
    weights: tuple[HeldWeights, ...] = (),
) -> Certificate:
    """Draw the certificate of a bundle up, not sealed yet: it passes if every check holds and every graph passes."""
    sound = all(check.passed for check in checks)
    precisions = _standings(bundle, graphs, sound=sound) if graphs else {}
    return Certificate(
        schema_version=SCHEMA_VERSION,
        sha256="0" * 64,
        bundle_sha256=bundle.manifest.sha256,
        name=bundle.manifest.name,
        passed=bool(graphs) and sound and all(graph.verdict == "pass" for graph in graphs),
        precisions=precisions,
        rule=RULE if {graph.precision for graph in graphs} <= {"float32"} else f"{RULE}; {REDUCED_RULE}",
        setting=setting,
        checks=checks,
        graphs=tuple(graphs),
        coarse=_coarse(graphs),
        weights=weights,
    )


def _coarse(graphs: list[GraphVerdict]) -> tuple[Coarse, ...]:
    """Return what a server must know: how coarse its runtime is on inputs that were not sought for it."""
    found: dict[tuple[str, str, str], float] = {}
    for graph in graphs:
        for comparison in graph.comparisons if graph.optimized and graph.verdict == "pass" else ():
            if comparison.slack > 1 and comparison.input_set != SOUGHT:
                key = (graph.graph, graph.provider, comparison.output)
                found[key] = max(found.get(key, 1.0), comparison.slack)
    return tuple(
        Coarse(graph=graph, provider=provider, onnxruntime=onnxruntime.__version__, output=output, slack=slack)
        for (graph, provider, output), slack in found.items()
    )


def _standings(bundle: Bundle, graphs: list[GraphVerdict], *, sound: bool) -> dict[Precision, Standing]:
    """Return how each precision stands: by the worst of its graphs; not judged, where one was not as it is served."""
    found: dict[Precision, Standing] = {}
    for entry in graph_files(bundle):
        precision = entry.precision or "float32"
        own = [graph for graph in graphs if graph.graph == entry.path]
        standings: list[Standing] = [graph.verdict if sound else "fail" for graph in own]
        if not any(graph.optimized for graph in own):
            standings.append("not judged")
        found[precision] = min([*standings, found.get(precision, "pass")], key=WORST_FIRST.index)
    return found


def setting_of(bundle: Bundle, request: Request, held_out: HeldOut) -> Setting:
    """Return what a certificate is made with, on this machine and now."""
    return Setting(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        mode=request.mode,
        held_out_rows=held_out.rows,
        held_out_source=held_out.source,
        seed=request.seed,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
        machine=f"{platform.system()} {platform.machine()}",
        torch_threads=torch.get_num_threads(),
        onnxruntime_threads=request.threads or usable_cpus(),
        tf32=False,
        held_out_sha256=held_out.sha256,
        not_judged=tuple(entry.path for entry in graph_files(bundle) if entry.path not in request.graphs),
        optimization=request.optimization,
    )


def labelled_of(held_out: HeldOut, truth: Truth) -> Labelled | None:
    """Count what eager PyTorch gets right of the samples whose class is known; mixtures have none."""
    logits = truth.eager.get("logits")
    if held_out.targets is None or logits is None or held_out.targets.dtype.kind not in "iu":
        return None
    targets = held_out.targets.astype(np.int64)
    known = targets >= 0
    if not known.any():
        return None
    right = decide(logits[: len(targets)].astype(np.float64)) == targets
    return Labelled(
        rows=int(known.sum()), right=int(right[known].sum()), commonest=int(np.bincount(targets[known]).max())
    )
