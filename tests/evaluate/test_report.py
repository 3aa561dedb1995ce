"""The report: what stands in it, what is escaped, that nothing is loaded, exit codes, and what it does without data."""

import io
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from altered import copy_bundle
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

import export.__main__
from evaluate.accuracy.classes import score_classes
from evaluate.graph_verdict import Search
from evaluate.plan import NOISE_NAME
from evaluate.print_certificate import print_certificate
from evaluate.report.choose import by_chance, every_class
from evaluate.report.examine import Request, examine
from evaluate.report.findings import Findings
from evaluate.report.identity import facts_of, line_of
from evaluate.report.page import page_of
from evaluate.report.proof import proofs_of
from evaluate.report.show import cell_text, image_uri
from evaluate.report.svg import inline_svg
from evaluate.report.together import beside_first, document_of, state_of, worst_share
from evaluate.report.words import (
    bar,
    deviation,
    milliseconds,
    moment,
    number,
    overall_mark,
    overall_shade,
    sure,
    times,
)
from evaluate.resealed import change_manifest, replace_file
from export.factory import load_factory
from serve.bundle import BundleError, Feature, Manifest, read_bundle, seal
from train.dataset import MissingDataError

Evaluate = Callable[..., tuple[int, str, str]]
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 191 }}{% raw %}</svg></style>",
    "abc &amp; https://example.com/x.png",
)
TURNED = f"\u202e\u2066{HOSTILE[3]}\u2069\u061c\x07\x9b"
SHOWN = rf"\u202e\u2066{HOSTILE[3]}\u2069\u061c\u0007\u009b"
MARKED, LONG = f"{HOSTILE[2]}\u200f", f'"{"A" * 300}'
NETWORKS = """
import torch
from torch import nn

class Pictures(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(108, classes))

    def forward(self, image):
        return self.layers(image)

class Prices(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, features):
        return self.layers(features)
"""


@dataclass
class Seen(HTMLParser):
    """All elements and attributes of a page, and its text."""

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def look(path: Path) -> Seen:
    seen = Seen()
    seen.feed(path.read_text(encoding="utf-8"))
    seen.text = " ".join(seen.text.split())
    return seen


def assert_loads_nothing(seen: Seen) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(seen.tags)
    for tag, name, value in seen.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
            assert value.startswith(("data:image/", "#")), (tag, name, value)
        if name == "style":
            assert "url(" not in value.replace("url(#", "")
    style = next(value for tag, name, value in seen.attributes if name == "content" and "default-src" in value)
    assert style.startswith("default-src 'none'; img-src data:;")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two bundles of own networks: pictures with hostile labels, prices; and samples of each."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "nets.py").write_text(NETWORKS, encoding="utf-8")
    scope: dict[str, type[torch.nn.Module]] = {}
    exec(NETWORKS, scope)  # noqa: S102 - a constant of this file
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    for name in ("Pictures", "Prices"):
        torch.save(scope[name]().state_dict(), folder / f"{name}.pth")
    np.savez(
        folder / "Pictures.npz",
        image=rng.integers(0, 256, size=(60, 6, 6, 3), dtype=np.uint8),
        label=rng.integers(0, 4, size=60),
    )
    rows = rng.normal(size=(60, 3))
    lines = ["rooms,<b>area</b>,price", *(",".join(map(str, row)) for row in rows)]
    (folder / "Prices.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(HOSTILE), encoding="utf-8")
    common = ("--formats", "onnx", "--certify", "quick")
    for name, options in (
        ("Pictures", ("--input", "image:uint8[6,6,3]", "--labels", str(folder / "labels.txt"))),
        ("Prices", ("--input", "features:float32[2]", "--columns", "rooms,<b>area</b>", "--targets", "price")),
    ):
        samples = next(path for path in folder.iterdir() if path.stem == name and path.suffix in {".npz", ".csv"})
        arguments = ("--factory", f"{folder / 'nets.py'}:{name}", "--weights", str(folder / f"{name}.pth"))
        out = ("--samples", str(samples), "--out", str(folder / name.lower()))
        assert export.__main__.main([*arguments, *options, *out, *common]) == 0
    return folder


@pytest.fixture(scope="module")
def pictures(own: Path) -> Findings:
    """What is found of the pictures."""
    factory = f"{own / 'nets.py'}:Pictures"
    request = Request(data_root=own, bench=False, factory=(load_factory(factory), factory))
    return examine(read_bundle(own / "pictures"), request)


def test_pictures_with_hostile_labels(own: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    html, document = tmp_path / "report.html", tmp_path / "report.json"

    def taint(manifest: Manifest) -> Manifest:
        origin = replace(
            manifest.provenance,
            dataset=f"<i>data</i>{TURNED}",
            device="<svg onload=alert(2)>",
            versions={"<u>": '"onmouseover="alert(3)'},
            training={"loss": "</style><script>alert(4)</script>"},
        )
        return replace(manifest, provenance=origin, labels=(*HOSTILE[:2], MARKED, LONG))

    bundle = copy_bundle(own / "pictures", tmp_path / "tainted")
    change_manifest(bundle, taint)
    options = ("--factory", f"{own / 'nets.py'}:Pictures", "--samples", str(own / "Pictures.npz"))
    code, out, _ = evaluate("report", str(bundle), "--html", str(html), "--json", str(document), *options)
    assert code == 0
    assert out.startswith("pictures: parity holds")
    seen = look(html)
    assert_loads_nothing(seen)
    assert "trained elsewhere" in seen.text
    assert "elsewhere: on what, nobody recorded samples given at export<i>data</i>" in seen.text
    assert "trained on <i>data" not in seen.text
    for label in (
        *HOSTILE[:3],
        rf"{HOSTILE[2]}\u200f",
        f"<i>data</i>{SHOWN}",
        "<svg onload=alert(2)>",
        "</style><script>alert(4)</script>",
    ):
        assert " ".join(label.split()) in seen.text
    assert "1337" not in seen.text
    page = html.read_text(encoding="utf-8")
    assert not [sign for sign in {*page} if sign != "\n" and unicodedata.category(sign) in {"Cc", "Cf"}]
    assert LONG not in seen.text
    assert f"{LONG[:59]}…" in seen.text
    assert ("bdi", "title", LONG) in seen.attributes
    assert {"i", "u", "b"} & set(seen.tags) == {"i"}  # the bars' own
    assert all(name in {"style"} for tag, name, _ in seen.attributes if tag == "i")
    named = {value for tag, name, value in seen.attributes if (tag, name) == ("td", "data-name")}
    assert {"rows", "decisions changed"} < named  # what a phone shows in place of the columns' heads
    images = [value for tag, name, value in seen.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 24 + 16 + 16
    for part in ("Passed", "no certificate, so this one was made", "What is taken for what", "surest mistakes"):
        assert part in seen.text
    assert "not shown to be any better than always answering the commonest class" in seen.text
    found = json.loads(document.read_text(encoding="utf-8"))["bundles"][0]
    assert found["parity"] == "pass"
    assert not found["certificate_stored"]
    assert found["accuracy"]["graphs"][1]["rows"] == 60
    assert {row["batch_size"] for row in found["bench"]["rows"]} == {1, 32}
    assert found["blame"]["passed"]


def test_a_regression_of_a_table(own: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    html = tmp_path / "prices.html"
    options = ("--factory", f"{own / 'nets.py'}:Prices", "--samples", str(own / "Prices.csv"), "--no-bench")
    code, _, _ = evaluate("report", str(own / "prices"), "--html", str(html), *options)
    assert code == 0
    seen = look(html)
    assert_loads_nothing(seen)
    assert "b" not in seen.tags
    for part in (
        "Mean error",
        "root mean square",
        "price, true",
        "<b>area</b>",
        "The greatest errors",
        "--no-bench was",
    ):
        assert part in seen.text
    assert not {"img", "nav"} & set(seen.tags)
    assert "decisions changed" not in seen.text
    assert len([None for tag in seen.tags if tag == "svg"]) == 3


def test_without_samples_a_regression_says_why_it_is_not_measured(
    own: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    html = tmp_path / "prices.html"
    options = ("--factory", f"{own / 'nets.py'}:Prices", "--no-bench")
    assert evaluate("report", str(own / "prices"), "--html", str(html), *options)[0] == 0
    text = look(html).text
    assert "Not here: prices has no recipe and carries no labelled samples" in text
    assert "What it says of samples" not in text


def test_bundles_are_compared_on_the_same_samples(
    own: Path, pictures: Findings, evaluate: Evaluate, tmp_path: Path
) -> None:
    html, document = tmp_path / "two.html", tmp_path / "two.json"
    options = ("--factory", f"{own / 'nets.py'}:Pictures", "--no-bench", "--json", str(document))
    bundles = (str(own / "pictures"), str(own / "pictures"))
    assert evaluate("report", *bundles, "--html", str(html), *options)[0] == 0
    seen = look(html)
    assert_loads_nothing(seen)
    assert "All 2 bundles give the answers of the models that were trained." in seen.text
    assert "0 samples gained, 0 lost, McNemar p = 1 (chance alone may do that)" in seen.text
    ids = [value for _, name, value in seen.attributes if name == "id"]
    parts = ("", "-proof", "-accuracy", "-samples", "-error", "-speed", "-origin")
    links = [value for tag, name, value in seen.attributes if name == "href" and tag == "a"]
    assert set(links) == {f"#bundle-{place}{part}" for place in (1, 2) for part in parts}
    assert {value[1:] for value in links} <= set(ids)
    assert "nav" in seen.tags
    named = {value for tag, name, value in seen.attributes if (tag, name) == ("td", "data-name")}
    assert {"accuracy", "greatest deviation", "answer in", "size", "recall", "mean F1", "sha256"} <= named
    assert len(ids) == len(set(ids))
    assert json.loads(document.read_text(encoding="utf-8"))["against_first"][0]["drop"]["mcnemar_p"] == 1

    assert pictures.sampled is not None
    assert pictures.sampled.carried
    sampled = replace(pictures.sampled, carried=False)
    assert sampled.right is not None
    better = replace(pictures, sampled=replace(sampled, right=np.ones_like(sampled.right), inputs_sha256="1" * 64))
    classes = replace(pictures, manifest=replace(pictures.manifest, labels=(*HOSTILE[:3], "another")))
    rows = replace(pictures, sampled=replace(sampled, truth=sampled.truth[::-1].copy()))
    others = replace(better, sampled=replace(sampled, inputs_sha256="1" * 64, carried=True))
    nothing = replace(pictures, sampled=None)
    found = beside_first((replace(pictures, sampled=sampled), better, classes, rows, others, nothing))
    assert found[0].drop is not None
    assert (found[0].drop.lost, found[0].drop.gained) == (0, int((~sampled.right).sum()))
    assert [one.why_not for one in found[1:]] == [
        "it has other classes",
        "its samples are others",
        "its samples are others",
        "accuracy was not measured of both",
    ]


def test_a_bundle_that_fails_is_reported_all_the_same(own: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    wrong = copy_bundle(own / "pictures", tmp_path / "wrong")
    state = torch.load(wrong / "state_dict.pt", weights_only=True)
    name = next(key for key in state if key.endswith("weight"))
    state[name] = state[name] + 0.01
    torch.save(state, wrong / "state_dict.pt")
    replace_file(wrong, "state_dict.pt", (wrong / "state_dict.pt").read_bytes())
    html = tmp_path / "wrong.html"
    options = ("--factory", f"{own / 'nets.py'}:Pictures", "--no-bench")
    code, out, _ = evaluate("report", str(wrong), "--html", str(html), *options)
    assert code == 1
    assert out.startswith("pictures: parity fails")
    text = look(html).text
    assert "pictures must not be served: it is not the model that was trained." in text
    assert "culprit" in text


def test_an_error_that_is_no_number_is_beyond_every_bound(pictures: Findings) -> None:
    graph = pictures.certificate.graphs[0]
    assert 0 < worst_share(pictures) <= 1
    for changed in (None, float("inf")):
        comparison = replace(graph.comparisons[-1], max_error=changed)
        graphs = (replace(graph, comparisons=(*graph.comparisons[:-1], comparison)),)
        assert worst_share(replace(pictures, certificate=replace(pictures.certificate, graphs=graphs))) == float("inf")


def test_many_classes_are_shades_and_the_worst_of_them_a_table(pictures: Findings) -> None:
    labels = tuple(f"class {index}" for index in range(30))
    truth, decided = np.arange(60) % 30, np.where(np.arange(60) < 3, 4, np.arange(60) % 30)
    confusion = np.bincount(truth * 30 + decided, minlength=900).reshape(30, 30)
    scores, macro = score_classes(confusion, np.full(30, 2), labels, resamples=10, seed=0)
    assert pictures.accuracy is not None
    graphs = tuple(
        replace(one, confusion=tuple(map(tuple, confusion.tolist())), classes=scores, macro=macro)
        for one in pictures.accuracy.graphs
    )
    many = replace(
        pictures,
        accuracy=replace(pictures.accuracy, graphs=graphs, labels=labels),
        manifest=replace(
            pictures.manifest,
            labels=labels,
            outputs=tuple(replace(spec, shape=("batch", 30)) for spec in pictures.manifest.outputs),
        ),
    )
    page = page_of([many])
    assert "The 20 classes of the least F1, of 30." in page
    assert 'class="confusion' not in page.replace('class="confusions', "")
    assert "each of 30 true classes" in page


@pytest.mark.parametrize("greatest", [pytest.param(3.5, id="a number"), pytest.param(None, id="no number")])
def test_the_search_that_is_shown_is_the_one_that_the_terminal_prints(
    pictures: Findings, greatest: float | None
) -> None:
    graph = pictures.certificate.graphs[0]
    first = Search(rows=64, graph_before=1.0, graph_after=2.25, eager_before=1.0, eager_after=2.0)
    ways = tuple(
        replace(graph, threads=threads, search=replace(first, graph_after=after))
        for threads, after in ((None, 2.25), (1, greatest), (2, 1.5))
    )
    certificate = replace(pictures.certificate, graphs=ways)
    (proof,) = proofs_of(certificate)
    shown = "no number" if greatest is None else "3.50"
    unit = "in multiples of PyTorch{}s greatest on the samples"
    assert f"was 1.00 before and {shown} after" in proof.sought
    assert unit.format("\N{RIGHT SINGLE QUOTATION MARK}") in proof.sought
    console = Console(file=io.StringIO(), width=400)
    print_certificate(certificate, console)
    assert f"greatest error 1.00 before, {shown} after" in console.file.getvalue()
    assert unit.format("'") in console.file.getvalue()


def test_a_pass_says_what_it_rests_on(pictures: Findings) -> None:
    passed = pictures.certificate
    full = replace(pictures, certificate=replace(passed, setting=replace(passed.setting, mode="full")))
    sets = tuple(replace(one, input_set=NOISE_NAME) for one in passed.graphs[0].comparisons)
    graphs = (replace(passed.graphs[0], comparisons=sets),)
    noise = replace(full, certificate=replace(full.certificate, graphs=graphs))
    both = replace(noise, certificate=replace(passed, graphs=graphs))
    failed = replace(noise, certificate=replace(noise.certificate, graphs=(replace(graphs[0], verdict="fail"),)))
    for found, shade, mark in (
        ([full], "pass", "Passed"),
        ([pictures], "pass", "Passed, by a quick check"),
        ([noise], "weak", "Passed, on noise alone"),
        ([both], "weak", "Passed, on noise alone, by a quick check"),
        ([full, full], "pass", "Passed"),
        ([full, noise, both], "weak", "Passed, 2 of 3 on noise alone, 1 of 3 by a quick check"),
        ([both, both], "weak", "Passed, all on noise alone, all by a quick check"),
        ([noise, failed], "fail", "Failed"),
    ):
        assert (overall_shade(found), overall_mark(found)) == (shade, mark)
        page = page_of(found)
        assert f'<section class="banner {shade}"' in page
        assert f'<p class="mark">{mark}</p>' in page
    seen = Seen()
    seen.feed(page_of([full, both]))
    text = " ".join(seen.text.split())
    assert "trained. On noise alone, not on one real sample: pictures. By a quick check, on few samples" in text
    assert seen.attributes.count(("span", "class", "verdict weak")) == 2  # beside each other, and above its own part
    assert [one["on_noise_alone"] for one in document_of((full, both))["bundles"]] == [False, True]
    alone = unescape(page_of([both]))
    assert "On noise, pictures gives the answers of the model that was trained" in alone
    assert "Not one real sample was compared. The check was a quick one" in alone
    assert "real sample" not in page_of([full])


def test_a_certificate_that_leaves_a_graph_out_proves_too_little(pictures: Findings) -> None:
    assert state_of(pictures) == "pass"
    passed = pictures.certificate
    less = replace(pictures, certificate=replace(passed, graphs=()))
    assert state_of(less) == "unproven"
    assert "says nothing of graph.onnx; make it again" in unescape(page_of([less]))
    failed = replace(passed, graphs=(replace(passed.graphs[0], verdict="fail", reason="a reason"),))
    assert state_of(replace(pictures, certificate=failed)) == "fail"  # whatever "passed" says
    check = replace(passed.checks[0], passed=False, detail="<b>another</b>")
    assert state_of(replace(pictures, certificate=replace(passed, checks=(check,)))) == "fail"


def test_without_the_data_of_its_recipe_a_bundle_is_measured_on_its_own_samples(
    digits_bundle: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise MissingDataError("digits are not here")

    monkeypatch.setattr("evaluate.labelled.load_dataset", gone)
    html = tmp_path / "digits.html"
    assert evaluate("report", str(digits_bundle), "--html", str(html), "--no-bench")[0] == 0
    text = look(html).text
    assert "Certificate of the bundle, full, made 20" in text
    assert "labelled samples, because digits is not here" in text
    assert "the few samples that the bundle carries" in text
    assert html.stat().st_size < 2**20


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(
            ("--html", "report.txt"),
            "--html is report.txt, but the report is HTML; give the name of a file that ends in .html",
            id="no HTML",
        ),
        pytest.param(
            ("--html", "nowhere/report.html"),
            "--html is nowhere/report.html, but that is no place for a file; give a file in a folder that exists",
            id="no folder",
        ),
        pytest.param(
            ("--html", "report.html", "--json", "nowhere/report.json"),
            "--json is nowhere/report.json, but that is no place for a file; give a file in a folder that exists",
            id="no folder for JSON",
        ),
        pytest.param(
            ("--html", "report.html", "--seed", "-1"),
            "--seed is -1, but seeds are 0 or greater; leave it out",
            id="seed",
        ),
        pytest.param(
            ("--html", "report.html"),
            "nothing does not exist, but a bundle directory was expected; make one with `python -m export RUN`",
            id="no bundle",
        ),
    ],
)
def test_what_cannot_be_reported_is_trouble(
    options: tuple[str, ...], sentence: str, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = evaluate("report", "nothing", *options)
    assert (code, out, err) == (2, "", f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_whose_network_cannot_be_built_is_trouble_and_writes_nothing(
    own: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    code, _, err = evaluate("report", str(own / "pictures"), "--html", str(tmp_path / "report.html"))
    assert code == 2
    assert "--factory" in err
    assert list(tmp_path.iterdir()) == []


def test_factories_build_the_bundles_that_record_them_and_one_that_lacks_is_named_at_once(
    own: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html, nets = tmp_path / "report.html", own / "nets.py"
    bundles = (str(own / "pictures"), str(own / "prices"))
    given = (f"--factory={nets}:Pictures", f"--factory={nets}:Prices")

    def never(*_: object, **__: object) -> None:
        pytest.fail("something was measured")

    with monkeypatch.context() as patch:
        patch.setattr("evaluate.report.examine.examine", never)
        for options, sentence in (
            ((), f"{bundles[0]} was built by nets.py:Pictures, and code that a file names is not run"),
            (given[1:], "name it yourself, with --factory nets.py:Pictures"),
            (given[:1], f"{bundles[1]} was built by nets.py:Prices, and code that a file names is not run"),
            (
                (*given, "--factory=torch.nn:Identity"),
                "--factory is torch.nn:Identity, but what is given was built by nets.py:Pictures, nets.py:Prices; "
                "leave it out",
            ),
        ):
            code, out, err = evaluate("report", *bundles, "--html", str(html), *options)
            assert (code, out) == (2, "")
            assert sentence in err
        (tmp_path / "nets.py").write_text(f"{NETWORKS}# later", encoding="utf-8")
        other = (given[0], f"--factory={tmp_path / 'nets.py'}:Prices")
        code, _, err = evaluate("report", *bundles, "--html", str(html), *other)
        assert code == 2
        assert f"{bundles[1]} was built by another nets.py:Prices than --factory {tmp_path}" in err
    assert not html.exists()

    def broken(*_: object, **__: object) -> None:
        raise BundleError(f"{bundles[1]} cannot be timed")

    monkeypatch.setattr("evaluate.report.examine.Measurement", broken)
    samples = ("--samples", str(own / "Pictures.npz"))
    assert evaluate("report", *bundles, "--html", str(html), *given, *samples)[0] == 0
    text = look(html).text
    assert "Not here: prices cannot be timed." in text
    assert "Not here: prices: --samples" in text
    assert "The surest mistakes" in text


def test_a_bundle_whose_labels_turn_the_page_is_trouble(own: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    bundle = copy_bundle(own / "pictures", tmp_path / "turned")
    document = json.loads((bundle / "manifest.json").read_bytes())
    document |= {"labels": [*HOSTILE[:3], TURNED], "sha256": "0" * 64}
    (bundle / "manifest.json").write_bytes(seal(json.dumps(document).encode()))
    code, out, err = evaluate("report", str(bundle), "--html", str(tmp_path / "report.html"))
    assert (code, out) == (2, "")
    assert "the name of a label is '\\u202e\\u2066abc" in err
    assert "rename it, and export the bundle again" in err
    assert err.rstrip().isprintable()


def test_a_certificate_of_another_make_is_trouble(own: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    bundle = copy_bundle(own / "pictures", tmp_path / "older")
    digest = read_bundle(bundle).manifest.sha256
    document = {"sha256": "0" * 64, "bundle_sha256": digest, "passed": True, "precisions": {"float32": "pass"}}
    (bundle / "certificate.json").write_bytes(seal(json.dumps(document).encode()))
    code, _, err = evaluate("report", str(bundle), "--html", str(tmp_path / "report.html"))
    assert code == 2
    assert err.rstrip().endswith(f"run `python -m evaluate parity {bundle}` again")


def test_a_run_says_what_it_was_trained_on_and_a_network_without_samples_that_it_has_none(pictures: Findings) -> None:
    origin = replace(pictures.manifest.provenance, dataset="", training={})
    own = replace(pictures, manifest=replace(pictures.manifest, provenance=origin))
    assert "trained elsewhere" in line_of(own)
    assert ("samples given at export", "none") in facts_of(own)
    for known in ({"recipe": "digits"}, {"training": {"epochs": 3}}):
        ran = replace(own, manifest=replace(own.manifest, provenance=replace(origin, dataset="photos", **known)))
        assert "trained on photos" in line_of(ran)
        assert dict(facts_of(ran))["trained on"].startswith("photos, sha256")
        assert "samples given at export" not in dict(facts_of(ran))


def test_charts_turn_nothing() -> None:
    figure = Figure(figsize=(4, 3), layout="constrained")
    figure.subplots().set_xlabel(TURNED[:-2])
    svg = inline_svg(figure, TURNED, name="one")
    seen = Seen()
    seen.feed(str(svg))
    assert SHOWN[:-12] in seen.text
    assert ("svg", "aria-label", SHOWN) in seen.attributes
    assert not {*TURNED} & {*svg} & {"\u202e", "\u2066", "\u2069", "\u061c", "\x07", "\x9b"}


def test_charts_load_nothing_and_follow_the_page() -> None:
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    axes.set_title("left out")
    axes.plot([0, 1], color="#1f4e9c", label="</text><script>alert(1)</script><!-- x -->")
    axes.set_xlabel('a "#000000" & <b>')
    axes.imshow(np.eye(3))
    axes.legend()
    svg = inline_svg(figure, 'it\'s "here" <b>', name="one")
    seen = Seen()
    seen.feed(str(svg))
    assert seen.tags[0] == "svg"
    assert svg.endswith("</svg>")
    assert not {"script", "style", "metadata", "b"} & set(seen.tags)
    assert ("svg", "aria-label", 'it\'s "here" <b>') in seen.attributes
    assert "left out" not in seen.text
    assert "</text><script>alert(1)</script><!-- x -->" in seen.text
    assert "var(--one)" in svg
    assert "http" not in svg
    used = set(re.findall(r"url\(#([^)]*)\)", svg)) | {
        value[1:] for _, name, value in seen.attributes if name == "href" and value.startswith("#")
    }
    ids = {value for _, name, value in seen.attributes if name == "id"}
    assert used <= ids
    assert all(one.startswith("one-") for one in ids)
    assert next(value for tag, name, value in seen.attributes if (tag, name) == ("image", "href")).startswith("data:")


def test_small_images_stay_as_they_are_and_large_ones_shrink() -> None:
    import base64

    rng = np.random.default_rng(0)
    for shape in ((8, 8, 1), (96, 40, 3), (300, 200, 3)):
        pixels = rng.integers(0, 256, size=shape, dtype=np.uint8)
        kind, _, content = image_uri(pixels).partition(";base64,")
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            if max(shape) <= 96:
                assert kind == "data:image/png"
                assert np.array_equal(np.asarray(image).reshape(shape), pixels)
            else:
                assert kind == "data:image/jpeg"
                assert image.size == (107, 160)


def test_cells_say_words_numbers_and_what_is_missing() -> None:
    street = Feature(name="street", categories=("paved", "gravel"), optional=True)
    assert [cell_text(value, street) for value in (0.0, 1.0, 2.0, float("nan"))] == ["paved", "gravel", "2", "missing"]
    assert cell_text(1234.5, Feature(name="area")) == "1,234.5"


def test_samples_by_chance_are_in_order_and_the_same_for_a_seed() -> None:
    places = np.arange(100)
    drawn = [by_chance(places, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert list(drawn[0]) == sorted(drawn[0])
    assert np.allclose(every_class(np.array([[0.25]])), [[0.75, 0.25]])


def test_numbers_as_people_read_them() -> None:
    assert sure(1.0) == "> 99.9\u00a0%"
    assert sure(0.512) == "51.2\u00a0%"
    assert (number(None), number(1234.5), number(123456.7)) == ("\u2013", "1,234", "123,457")
    assert (milliseconds(0.01234), milliseconds(4321.0)) == ("0.0123 ms", "4.32 s")
    assert (bar(None), bar(float("nan")), bar(0.25), bar(7.0), bar(float("inf"))) == (
        "0%",
        "0%",
        "25.0%",
        "100.0%",
        "100.0%",
    )
    assert [deviation(share) for share in (0.4, 7.01234, 1e9, float("inf"))] == [
        "40\u00a0%",
        "701\u00a0%",
        "1e+11\u00a0%",
        "no number",
    ]
    assert (times(1.234), times(1234.5), times(None)) == ("1.23", "1,234", "\u2013")
    assert moment("2026-11-21T10:20:46+00:00") == "2026-11-21 10:20 UTC"
