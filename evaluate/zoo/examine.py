"""One architecture through the commands that a user types: weights, export, certificate; each a process of its own."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evaluate.graph_verdict import GraphVerdict
from evaluate.ratios import max_multiple, rmse_multiple
from evaluate.stored import stored_certificate
from evaluate.zoo.pictures import write_pictures
from evaluate.zoo.result import Graph, Result, Settings
from evaluate.zoo.weights import Size, side_of
from serve.bundle import Bundle, read_bundle
from train.revision import source_revision

CLASSES = 1000
_PICTURES = 12
_HOLDS, _FAILS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """One command as it ended; `peak_bytes` is 0 where it was killed."""

    code: int
    duration_s: float
    peak_bytes: int
    last_words: str


def examine(name: str, folder: Path, *, settings: Settings) -> Result:
    """Export and certify one architecture.

    Args:
        name: torchvision's.
        folder: Where weights, bundle and the commands' output stand meanwhile; it is there.
        settings: Side of its pictures, seed, and how thorough the certificate is.
    """
    side = settings.side or side_of(name)
    weights, labels, pictures, out = (folder / part for part in ("weights.pth", "labels.txt", "pictures", "bundle"))
    factory = f"torchvision.models:{name}"
    labels.write_text("\n".join(f"class {index}" for index in range(CLASSES)) + "\n", encoding="utf-8")
    write_pictures(pictures, _PICTURES, side=side, seed=settings.seed + 1)
    made = _run(folder, "evaluate.zoo.weights", name, str(weights), str(side), str(settings.seed))
    exported = judged = None
    if made.code == 0:
        specification = f"image:uint8[{side},{side},3]"
        exported = _run(
            folder, "export", "--factory", factory, "--weights", str(weights), "--input", specification,
            "--labels", str(labels), "--samples", str(pictures), "--out", str(out), "--certify", "none",
        )  # fmt: skip
    if exported is not None and exported.code == 0:
        quick = ["--quick"] if settings.mode == "quick" else []
        judged = _run(folder, "evaluate", "parity", str(out), "--factory", factory, *quick)
    bundle = read_bundle(out) if judged is not None and judged.code in {_HOLDS, _FAILS} else None
    ran = [step for step in (made, exported, judged) if step is not None]
    size = msgspec.json.decode(made.last_words, type=Size) if made.code == 0 else Size(parameters=0, flops=0)
    return Result(
        name=name,
        side=side,
        settings=settings,
        source_revision=source_revision(),
        machine=f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        parameters=size.parameters,
        flops=size.flops,
        export_s=exported.duration_s if exported else 0.0,
        certify_s=judged.duration_s if judged else 0.0,
        peak_bytes=max(step.peak_bytes for step in ran[1:] or ran),
        graphs=_graphs(bundle) if bundle else (),
        failure=None if bundle else ran[-1].last_words or f"exit code {ran[-1].code}, and no word",
    )


def _run(folder: Path, *arguments: str) -> _Ran:
    """Run a module with its arguments, in a process that says how much memory it took."""
    start, peak = time.perf_counter(), folder / "peak.txt"
    peak.unlink(missing_ok=True)
    command = [sys.executable, "-m", "evaluate.zoo.measured", str(peak), *arguments]
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    return _Ran(
        code=code,
        duration_s=time.perf_counter() - start,
        peak_bytes=int(peak.read_text(encoding="ascii")) if peak.is_file() else 0,
        last_words=lines[-1] if lines else "",
    )


def _graphs(bundle: Bundle) -> tuple[Graph, ...]:
    certificate = stored_certificate(bundle)
    sizes = {entry.path: entry.size_bytes for entry in bundle.manifest.files}
    return tuple(_graph(verdict, sizes) for verdict in certificate.graphs) if certificate is not None else ()


def _graph(verdict: GraphVerdict, sizes: dict[str, int]) -> Graph:
    first = [comparison for comparison in verdict.comparisons if comparison.output == verdict.comparisons[0].output]
    return Graph(
        graph=verdict.graph,
        provider=verdict.provider,
        optimized=verdict.optimized,
        size_bytes=sum(size for path, size in sizes.items() if path.startswith(verdict.graph)),
        batch_sizes=tuple(sorted({comparison.batch_size for comparison in verdict.comparisons})),
        rows=sum(comparison.rows for comparison in first),
        rmse_ratio=rmse_multiple(verdict.comparisons),
        max_ratio=max_multiple(verdict.comparisons),
        verdict=verdict.verdict,
        reason=verdict.reason,
    )
