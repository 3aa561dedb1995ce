"""The search for the worst inputs finds what no other set shows, condemns no right graph, and leaves no domain."""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from evaluate.ascent import walk
from evaluate.certificate import Certificate
from evaluate.compare_outputs import compare_outputs
from evaluate.domain import Range, change, domain_of
from evaluate.eager import Eager
from evaluate.faults.graphs import GraphMaker, module_candidate, onnx_candidate
from evaluate.faults.ground import Ground, _manifest, prepare
from evaluate.faults.subjects import build_module, runner_of, subjects
from evaluate.graph_verdict import Search
from evaluate.image_inputs import image_input_sets
from evaluate.inputs import InputSet, count, take, whole
from evaluate.plan import plan_of
from evaluate.resealed import replace_file
from evaluate.source import dataset_of
from evaluate.trouble import ParityError
from evaluate.truth import Truth, _truth
from evaluate.verdicts import judge_graph
from evaluate.worst import CLIMBERS, SOUGHT, Outputs, Seeker
from export.deployable import to_float64
from export.module_runner import ModuleRunner, run_batches
from serve.bundle import CERTIFICATE, TensorSpec, read_bundle
from serve.runner import Runner

CLIMB = 8


class Clip(nn.Module):
    """Cuts off what is above a limit, and remembers the greatest value that came."""

    def __init__(self, inner: nn.Module, limit: float = float("inf")) -> None:
        super().__init__()
        self.inner, self.limit, self.seen = inner, limit, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Clip one batch."""
        values = self.inner(x)
        self.seen = max(self.seen, float(values.detach().max()))
        return values.clamp(max=self.limit)


def eager_of(ground: Ground) -> Eager:
    module, subject = ground.module, ground.subject
    return Eager(module=module, single=runner_of(module, subject), double=runner_of(to_float64(module), subject))


def sought(ground: Ground, runner: Runner, *, seed: int = 0) -> tuple[Truth, Search, list[str]]:
    """Seek, and return the verdicts of all sets but that, and then of that."""
    seeker = Seeker(_manifest(ground.subject), eager_of(ground), ground.truths, steps=CLIMB, seed=seed)
    outputs = {truth.inputs.name: run(runner, truth.inputs) for truth in ground.truths}
    truth, search = seeker.seek(runner, outputs)
    assert search.rows == seeker.tried
    return truth, search, [verdict(ground, runner, own) for own in (*ground.truths, truth)]


def run(runner: Runner, inputs: InputSet) -> dict[str, np.ndarray]:
    return run_batches(runner, inputs.inputs, batch_size=inputs.batch_size, sizes=inputs.sizes)


def verdict(ground: Ground, runner: Runner, truth: Truth) -> str:
    decisive = "logits" if ground.subject.task == "classification" else None
    compared = compare_outputs(run(runner, truth.inputs), truth, must_vary=False, decisive=decisive)
    return "pass" if all(comparison.verdict == "pass" for comparison in compared) else "fail"


@pytest.fixture(scope="module")
def perceptron() -> Ground:
    return prepare(subjects()["mlp"], scale=1.0, seed=0, quick=True)


@pytest.fixture(scope="module")
def clipped() -> Ground:
    """A perceptron that clips what only inputs unlike all samples, noise and extremes reach."""
    subject = subjects()["mlp"]
    ground = prepare(subject, scale=1.0, seed=0, quick=True)
    name = next(name for name, part in ground.module.named_modules() if isinstance(part, nn.ReLU))
    clip = Clip(nn.ReLU())
    ground.module.set_submodule(name, clip)
    runner = runner_of(ground.module, subject)
    for truth in ground.truths:
        run(runner, truth.inputs)
    clip.limit = 1.2 * clip.seen
    return ground


def test_only_the_search_finds_a_clip_that_no_other_input_reaches(clipped: Ground) -> None:
    """As where ReLU6 is exported as ReLU."""
    wrong = copy.deepcopy(clipped.module)
    next(part for part in wrong.modules() if isinstance(part, Clip)).limit = float("inf")
    _, search, verdicts = sought(clipped, runner_of(wrong, clipped.subject))
    assert verdicts == ["pass"] * len(clipped.truths) + ["fail"]
    assert search.graph_after is not None
    assert search.graph_after > 1000 * search.graph_before
    assert search.eager_after < 100
    _, _, right = sought(clipped, runner_of(clipped.module, clipped.subject))
    assert set(right) == {"pass"}


def test_a_right_graph_passes_on_what_was_sought_against_it(perceptron: Ground) -> None:
    subject = perceptron.subject
    maker = GraphMaker(perceptron.module, subject, perceptron.samples)
    for seed in range(3):
        module = build_module(subject, perceptron.samples, scale=1.0, seed=seed)
        ground = prepare(subject, scale=1.0, seed=seed, quick=True)
        candidate = onnx_candidate(maker.make(module), subject)
        assert candidate.runner is not None
        truth, search, verdicts = sought(ground, candidate.runner, seed=seed)
        assert set(verdicts) == {"pass"}
        assert search.graph_after is not None
        assert search.graph_after >= search.graph_before
        assert search.eager_after > 1.5 * search.eager_before
        assert truth.inputs.name == SOUGHT
        assert count(truth.inputs.inputs) == 2 * CLIMBERS
        assert truth.inputs.judged.all()


def test_what_is_sought_for_eager_is_as_bad_for_it_as_what_is_sought_for_its_twin(perceptron: Ground) -> None:
    """The search is the same for both: a graph with eager's very bits gets nothing that eager has not."""
    truth, search, _ = sought(perceptron, runner_of(perceptron.module, perceptron.subject))
    assert (search.graph_before, search.graph_after) == (search.eager_before, search.eager_after)
    half = {name: values[:CLIMBERS] for name, values in truth.inputs.inputs.items()}
    assert all(np.array_equal(half[name], values[CLIMBERS:]) for name, values in truth.inputs.inputs.items())


class NearPole(nn.Module):
    """Gives four targets, each of which has a pole where few rows come near; summed in one order or in another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 64), nn.Linear(64, 4)
        self.order: Tensor | None = None

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Run one batch."""
        inner, bias, outer = self.first.weight, self.first.bias, self.last.weight
        if self.order is not None:
            inner, bias, outer = inner[self.order].flip(1), bias[self.order], outer[:, self.order]
            x = x.flip(1)
        values = nn.functional.linear(nn.functional.linear(x, inner, bias), outer, self.last.bias)
        return ((values.abs() + 0.03).log(),)


def test_another_order_of_summation_passes_near_the_poles_of_four_targets() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 16))
    answer = TensorSpec(name="prediction", dtype="float32", shape=("batch", 4))
    manifest = replace(
        _manifest(subjects()["table"]), inputs=(spec,), outputs=(answer,), features=(), preprocessing=None
    )
    judged = []
    for seed in range(6):
        torch.manual_seed(seed)
        module = NearPole().eval()
        graph = copy.deepcopy(module)
        graph.order = torch.randperm(64)
        single, double, other = (
            ModuleRunner(part, inputs=("x",), outputs=("prediction",)) for part in (module, to_float64(module), graph)
        )
        eager = Eager(module=module, single=single, double=double)
        rng = np.random.default_rng(seed)
        sets = (
            whole("held-out samples", "samples", {"x": rng.normal(size=(512, 16)).astype(np.float32)}),
            whole("noise", "noise", {"x": rng.uniform(-3, 3, size=(64, 16)).astype(np.float32)}),
        )
        truths = [Truth(inputs=s, eager=eager.run(s.inputs), reference=eager.run64(s.inputs)) for s in sets]
        outputs = {truth.inputs.name: run(other, truth.inputs) for truth in truths}
        truth, _ = Seeker(manifest, eager, truths, steps=CLIMB, seed=seed).seek(other, outputs)
        judged += compare_outputs(run(other, truth.inputs), truth, must_vary=False, decisive=None)
        wrong = run(other, truth.inputs)
        wrong["prediction"][:, 3] *= np.float32(1 + 1e-4)
        (found,) = compare_outputs(wrong, truth, must_vary=False, decisive=None)
        assert found.verdict == "fail"
    assert [found.verdict for found in judged] == ["pass"] * 6
    assert {found.rows_apart for found in judged} == {0}


def test_a_search_is_the_same_again_with_the_same_seed(perceptron: Ground) -> None:
    runner = runner_of(perceptron.module, perceptron.subject)
    (one, first, _), (two, second, _), (_, other, _) = (sought(perceptron, runner, seed=s) for s in (3, 3, 4))
    assert first == second != other
    assert np.array_equal(one.inputs.inputs["image"], two.inputs.inputs["image"])


class Broken:
    """Gives NaN where the first pixel is dark."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch."""
        outputs = self.runner.run(inputs)
        return {name: np.where(inputs["image"][:, 0, 0] < 3, np.nan, values) for name, values in outputs.items()}


def test_a_graph_without_a_number_where_eager_has_one_is_found(perceptron: Ground) -> None:
    runner = runner_of(perceptron.module, perceptron.subject)
    bright = [
        replace(truth, inputs=replace(truth.inputs, judged=truth.inputs.inputs["image"][:, 0, 0, 0] >= 3))
        for truth in perceptron.truths
    ]
    truth, search, _ = sought(replace(perceptron, truths=bright), Broken(runner))
    assert search.graph_after is None
    assert verdict(perceptron, Broken(runner), truth) == "fail"


class Failing:
    """Fails once it is told to."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.broken = runner, False

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch."""
        if self.broken:
            raise RuntimeError("out of luck")
        return self.runner.run(inputs)


@pytest.mark.parametrize("guilty", ["graph", "eager"])
def test_a_failure_of_eager_while_seeking_is_not_the_graphs(guilty: str, perceptron: Ground) -> None:
    eager = eager_of(perceptron)
    runners = {"graph": Failing(runner_of(perceptron.module, perceptron.subject)), "eager": Failing(eager.single)}
    candidate = replace(module_candidate(perceptron.module, perceptron.subject), runner=runners["graph"])

    class Breaking(Seeker):
        def seek(self, runner: Runner, outputs: Mapping[str, Outputs]) -> tuple[Truth, Search]:
            runners[guilty].broken = True
            return super().seek(runner, outputs)

    seeker = Breaking(
        _manifest(perceptron.subject),
        replace(eager, single=runners["eager"]),
        perceptron.truths,
        steps=CLIMB,
        seed=0,
    )
    judge = functools.partial(judge_graph, candidate, perceptron.truths, task=perceptron.subject.task, seeker=seeker)
    if guilty == "graph":
        assert judge().reason == f"it fails on {SOUGHT} (out of luck)"
    else:
        with pytest.raises(RuntimeError, match="out of luck"):
            judge()


class Limited:
    """Fails on what has a bright first pixel, as an index past the end does, and its whole batch with it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch."""
        if (inputs["image"][:, 0, 0] > 250).any():
            raise IndexError("index out of range")
        return self.runner.run(inputs)


def test_rows_that_eager_fails_on_are_left_out_one_by_one(perceptron: Ground) -> None:
    eager = eager_of(perceptron)
    eager = replace(eager, single=Limited(eager.single))
    seeker = Seeker(_manifest(perceptron.subject), eager, perceptron.truths, steps=0, seed=0)
    rows = {"image": np.zeros((4, *perceptron.samples["image"].shape[1:]), np.uint8)}
    rows["image"][1] = 255
    kept, answer = seeker._answered(rows)
    assert count(kept) == 3
    assert not kept["image"].any()
    assert len(answer.reference["logits"]) == 3


def test_rows_without_a_finite_answer_of_eager_count_for_nobody() -> None:
    subject = subjects()["table"]
    ground = prepare(subject, scale=1.0, seed=0, quick=True)

    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x.amax(dim=1, keepdim=True) > 4, x * torch.inf, x)

    ground.module.network = nn.Sequential(Root(), ground.module.network)
    eager = eager_of(ground)
    truths = []
    for truth in ground.truths:
        computed = eager.run(truth.inputs.inputs)
        judged = truth.inputs.judged & np.isfinite(computed["prediction"]).all(axis=1)
        truths.append(
            Truth(
                inputs=replace(truth.inputs, judged=judged), reference=eager.run64(truth.inputs.inputs), eager=computed
            )
        )
    truth, search, _ = sought(replace(ground, truths=truths), runner_of(ground.module, subject))
    assert np.isfinite(search.eager_after)
    assert search.graph_after is not None
    assert all(np.isfinite(values[truth.inputs.judged]).all() for values in truth.eager.values())


@pytest.mark.parametrize("name", ["table", "mlp"])
def test_nothing_leaves_the_domain(name: str) -> None:
    subject = subjects()[name]
    ground = prepare(subject, scale=1.0, seed=1, quick=True)
    domain = domain_of(_manifest(subject), ground.truths)
    rng = np.random.default_rng(0)
    rows = take(ground.samples, slice(0, 64))
    met = [rows]
    for _ in range(30):
        met.append(change(met[-1], rows, domain, rng))
    met += walk(ground.module, rows, domain, bytes_too=subject.preprocessing is not None, rng=rng)
    assert len(met) == 41
    (spec,) = subject.inputs
    for one, other in pairwise(met):
        assert other[spec.name].dtype == ground.samples[spec.name].dtype
        assert other[spec.name].shape == one[spec.name].shape
        assert not np.array_equal(one[spec.name], other[spec.name], equal_nan=True)
    everything = np.concatenate([values[spec.name] for values in met])
    if subject.features:
        samples = ground.samples[spec.name]
        for column, feature in enumerate(subject.features):
            values = everything[:, column]
            assert feature.optional or np.isfinite(values).all()
            known = values[np.isfinite(values)]
            if feature.categories:
                assert set(known) == set(range(len(feature.categories)))
            else:
                assert np.nanmin(samples[:, column]) <= known.min() < known.max() <= np.nanmax(samples[:, column])
        assert np.isnan(everything[:, 0]).any()
    else:
        assert {0, 255} <= set(everything.ravel())


def test_integers_stay_what_they_may_be() -> None:
    area = Range(low=np.asarray(2.0), high=np.asarray(5.0), whole=np.asarray(True), optional=np.asarray(False))
    rng = np.random.default_rng(0)
    rows = {"tokens": rng.integers(2, 6, size=(64, 7))}
    for _ in range(20):
        rows = change(rows, rows, {"tokens": area}, rng)
        assert rows["tokens"].dtype == np.int64
        assert set(rows["tokens"].ravel()) == {2, 3, 4, 5}


def test_a_network_without_gradients_is_not_walked() -> None:
    class Words(nn.Module):
        def forward(self, tokens: Tensor) -> tuple[Tensor]:
            return (tokens.float(),)

    area = Range(low=np.asarray(0.0), high=np.asarray(9.0), whole=np.asarray(True), optional=np.asarray(False))
    rng = np.random.default_rng(0)
    assert walk(Words(), {"tokens": np.zeros((4, 2), np.int64)}, {"tokens": area}, bytes_too=False, rng=rng) == []

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (x.detach() * 2,)

    area = replace(area, whole=np.asarray(False))
    assert walk(Constant(), {"x": np.zeros((4, 2), np.float32)}, {"x": area}, bytes_too=False, rng=rng) == []


class Keeping(nn.Module):
    """Keeps a table of the first run, for all that follow."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.table = nn.Linear(4, 3), None

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Run one batch."""
        if self.table is None:
            self.table = torch.linspace(1, 2, 4)
        return (self.last(x * self.table),)


def test_a_network_that_keeps_a_tensor_of_inference_is_walked_and_left_as_it_was() -> None:
    module = Keeping().eval()
    rows = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
    ModuleRunner(module, inputs=("x",), outputs=("y",)).run(rows)
    kept = module.table
    area = Range(low=np.asarray(-1.0), high=np.asarray(1.0), whole=np.asarray(False), optional=np.asarray(False))
    told: list[str] = []
    rng = np.random.default_rng(0)
    assert len(walk(module, rows, {"x": area}, bytes_too=False, rng=rng, on_stop=told.append)) == 10
    assert told == []
    assert module.table is kept


def test_where_no_walk_is_possible_that_is_said(perceptron: Ground) -> None:
    class Constant(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor]:
            with torch.no_grad():
                return (image.float().mean(dim=(1, 2)),)

    seeker = Seeker(
        _manifest(perceptron.subject),
        replace(eager_of(perceptron), module=Constant()),
        perceptron.truths,
        steps=1,
        seed=0,
    )
    (note,) = seeker.notes
    assert note.startswith(f"{SOUGHT}: after 0 of 10 steps, there was no way along PyTorch's gradients (element 0 of ")
    assert seeker.tried == CLIMBERS


@functools.cache
def table_of(rows: int, width: int) -> Tensor:
    """Keep a table outside of all modules."""
    return torch.linspace(1, 2, width) + torch.zeros(rows, 1)


class Caching(nn.Module):
    """Uses a table that is kept for each number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Run one batch."""
        return (self.last(x * table_of(*x.shape)),)


def cached_eager() -> Eager:
    table_of.cache_clear()
    module = Caching().eval()
    runners = (ModuleRunner(part, inputs=("x",), outputs=("prediction",)) for part in (module, to_float64(module)))
    return Eager(module=module, **dict(zip(("single", "double"), runners, strict=True)))


def test_eager_runs_before_the_reference_on_every_set() -> None:
    """Else it finds what the reference left behind, and the set counts as one that PyTorch itself fails on."""
    eager = cached_eager()
    first = None
    for rows in (64, 9):
        inputs = whole("samples", "samples", {"x": np.ones((rows, 4), np.float32)})
        truth, why = _truth(inputs, eager, first)
        assert why is None
        assert truth is not None
        assert truth.eager["prediction"].dtype == np.float32
        first = truth


def test_what_the_reference_left_behind_is_trouble_and_no_skipped_set() -> None:
    eager = cached_eager()
    few = {"x": np.ones((9, 4), np.float32)}
    inputs = whole("samples", "samples", {"x": np.ones((64, 4), np.float32)})
    first, _ = _truth(inputs, eager, None)
    eager.run64(few)
    with pytest.raises(ParityError, match=r"outside of itself: torch\.Tensor\.mul takes float64 .* by register_buffer"):
        _truth(whole("few", "noise", few), eager, first)


@pytest.mark.parametrize(
    ("quick", "flops", "searches"),
    [
        pytest.param(False, 0, True, id="unknown"),
        pytest.param(False, 2_000_000, True, id="cheap"),
        pytest.param(False, 100_000_000, False, id="costly"),
        pytest.param(True, 2_000_000, False, id="quick"),
    ],
)
def test_only_a_full_certificate_of_a_cheap_network_is_sought_for(quick: bool, flops: int, searches: bool) -> None:
    assert (plan_of(quick=quick, flops_per_row=flops).climb > 0) == searches


def clip_first_relu(graph: bytes, images: np.ndarray, *, times: float) -> bytes:
    """Clip what the first activation of a graph gives, at so many times the greatest value that some images reach."""
    model = onnx.load_from_string(graph)
    at, relu = next((index, node) for index, node in enumerate(model.graph.node) if node.op_type == "Relu")
    inner = f"{relu.output[0]}_unclipped"
    relu_output, relu.output[0] = relu.output[0], inner
    limit = numpy_helper.from_array(np.float32(np.inf), "limit")
    model.graph.initializer.append(limit)
    model.graph.node.insert(at + 1, onnx.helper.make_node("Clip", [inner, "", "limit"], [relu_output]))
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:]
    seen.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
    session = InferenceSession(seen.SerializeToString(), providers=["CPUExecutionProvider"])
    reached = float(np.max(session.run(None, {"image": images})[0]))
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.float32(times * reached), "limit"))
    return model.SerializeToString()


@pytest.mark.parametrize(("times", "code"), [pytest.param(1.1, 1, id="reached"), pytest.param(1e6, 0, id="never")])
def test_the_command_fails_a_graph_that_only_the_search_finds_wrong(
    times: float, code: int, wrong_bundle: Path, evaluate: Callable[..., tuple[int, str, str]]
) -> None:
    bundle = read_bundle(wrong_bundle)
    dataset = dataset_of(bundle, wrong_bundle)
    assert dataset is not None
    sets = image_input_sets({"image": dataset.test.inputs}, predict=None, seed=0)
    images = np.concatenate([inputs.inputs["image"] for inputs in sets])
    graph = (wrong_bundle / "graph.onnx").read_bytes()
    replace_file(wrong_bundle, "graph.onnx", clip_first_relu(graph, images, times=times))
    found, out, _ = evaluate("parity", str(wrong_bundle))
    assert found == code
    assert "832 worse rows sought: greatest error" in out
    certificate = msgspec.json.decode((wrong_bundle / CERTIFICATE).read_bytes(), type=Certificate)
    wrong = {c.input_set for g in certificate.graphs for c in g.comparisons if c.verdict == "fail"}
    assert wrong == ({SOUGHT} if code else set())
    assert {graph.verdict for graph in certificate.graphs if graph.graph != "graph.onnx"} == {"pass"}
