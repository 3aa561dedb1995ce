"""A certificate that no run made, for those who write it out."""

from dataclasses import replace

from evaluate.certificate import Certificate, Check, Setting
from evaluate.graph_verdict import Comparison, GraphVerdict

COMPARISON = Comparison(
    input_set="held-out samples",
    batch_size=64,
    rows=100,
    output="logits",
    rmse=1e-7,
    rmse_bound=3e-7,
    max_error=1e-6,
    max_bound=6e-6,
    flips=0,
    flips_beyond_margin=0,
    unflippable_share=1.0,
    flip_rate_upper_95=0.03,
    verdict="pass",
    reason=None,
)
GRAPH = GraphVerdict(
    graph="graph.onnx",
    precision="float32",
    provider="CPUExecutionProvider",
    optimized=True,
    threads=2,
    verdict="pass",
    reason=None,
    comparisons=(COMPARISON, replace(COMPARISON, input_set="random pixels")),
)
CERTIFICATE = Certificate(
    schema_version=1,
    sha256="0" * 64,
    bundle_sha256="ab" * 32,
    name="digits",
    passed=True,
    precisions={"float32": "pass"},
    rule="the rule",
    setting=Setting(
        created="2026-11-21T10:00:00+00:00",
        mode="full",
        held_out_rows=100,
        held_out_source="100 samples of mine, sha256 cdcd",
        seed=0,
        versions={"torch": "2.15.0", "onnxruntime": "1.31.1"},
        machine="Linux x86_64",
        torch_threads=2,
        onnxruntime_threads=2,
        tf32=False,
        held_out_sha256="cd" * 32,
    ),
    checks=(Check(name="labels", passed=True, detail="as in the recipe"),),
    graphs=(GRAPH, replace(GRAPH, optimized=False), replace(GRAPH, threads=1)),
)
