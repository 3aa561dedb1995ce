"""Faults in a real bundle, judged the whole way: ``python -m evaluate parity`` in a process, by its exit code."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluate.faults.case import Case, FaultsError, case_key
from evaluate.faults.in_output import After
from evaluate.faults.rules import OURS
from evaluate.faults.subjects import last_linear
from evaluate.resealed import change_manifest, replace_file
from export.deployable import rebuild
from export.to_onnx import export_onnx
from serve.bundle import CERTIFICATE, MANIFEST, Manifest, read_bundle
from serve.golden import encode_golden, read_golden
from train.models.image_input import ImageInput

SUBJECT = "digits, trained"
_HOLDS, _FAILS = 0, 1
_EPOCHS = "4"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFault:
    """A fault in a bundle; `plant` spoils a copy, whose digests all fit again afterwards."""

    kind: str
    plant: Callable[[Path], None]


def bundle_cases(folder: Path, *, known: Callable[[str], bool]) -> Iterator[Case]:
    """Plant every fault in copies of a bundle that was trained and exported by the commands.

    Args:
        folder: Where run and bundle stand, and stay.
        known: Whether a case is there already, by its key.

    Raises:
        FaultsError: a command failed that must not.
    """
    bundle = folder / "bundle"
    for fault in BUNDLE_FAULTS:
        if not known(case_key("fault", SUBJECT, None, 0, fault.kind)):
            _make(folder)
            copy = folder / "spoilt"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns(CERTIFICATE))
            fault.plant(copy)
            yield _judged(copy, "fault", fault.kind)
    for kind, options in BUNDLE_VARIANTS.items():
        if not known(case_key("variant", SUBJECT, None, 0, kind)):
            _make(folder)
            yield _judged(bundle, "variant", kind, *options)


def _judged(bundle: Path, group: str, kind: str, *options: str) -> Case:
    code, words = _run("evaluate", "parity", str(bundle), "--no-certificate", *options)
    if code not in {_HOLDS, _FAILS}:
        raise FaultsError(f"{kind}: parity ended with exit code {code} ({words}), but 0 or 1 was expected")
    reasons = [line for line in words.splitlines() if "fail" in line or "recipe says" in line]
    return Case(
        group="fault" if group == "fault" else "variant",
        subject=SUBJECT,
        scale=None,
        seed=0,
        family="bundle",
        kind=kind,
        place="command line",
        rejects={OURS: code == _FAILS},
        rejects_samples={},
        harmless=False,
        ratio=None,
        reason=(reasons[-1].strip() if reasons else None) if code == _FAILS else None,
        exit_code=code,
    )


def _make(folder: Path) -> None:
    """Train and export, unless that was done before."""
    run, bundle = folder / "run", folder / "bundle"
    if not (run / "run.json").exists():
        _must("train", "run", "digits", "--epochs", _EPOCHS, "--out", str(run), "--overwrite")
    if not (bundle / MANIFEST).exists():
        _must("export", str(run), "--out", str(bundle))


def _must(*arguments: str) -> None:
    code, words = _run(*arguments)
    if code != _HOLDS:
        last = words.strip().splitlines()[-1:] or ["no word"]
        raise FaultsError(f"python -m {' '.join(arguments[:2])} ended with exit code {code} ({last[0]}); see there")


def _run(*arguments: str) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout or ended.stderr


def _in_onnx(spoil: Callable[[nn.Module], nn.Module]) -> Callable[[Path], None]:
    """Export a spoilt module in place of the ONNX graph."""

    def plant(path: Path) -> None:
        bundle = read_bundle(path)
        manifest = bundle.manifest
        examples = (torch.zeros(2, *(int(size) for size in manifest.inputs[0].shape[1:]), dtype=torch.uint8),)
        graph = path / "wrong.onnx"
        with torch.no_grad():
            export_onnx(spoil(rebuild(bundle)), examples, graph, inputs=manifest.inputs, outputs=manifest.outputs)
        content = graph.read_bytes()
        graph.unlink()
        replace_file(path, "graph.onnx", content)

    return plant


def _one_weight(module: nn.Module) -> nn.Module:
    last_linear(module).weight[0, 0] *= 1.01
    return module


def _one_bias(module: nn.Module) -> nn.Module:
    last_linear(module).bias[0] = 0
    return module


def _shift_mean(module: nn.Module) -> nn.Module:
    right = module.input_module
    assert isinstance(right, ImageInput)  # noqa: S101 - for the type checker: the recipe's input is of images
    right.mean += 0.01
    return module


def _labels(manifest: Manifest) -> Manifest:
    labels = list(manifest.labels)
    labels[3], labels[8] = labels[8], labels[3]
    return replace(manifest, labels=tuple(labels))


def _preprocessing(**changes: object) -> Callable[[Path], None]:
    def change(manifest: Manifest) -> Manifest:
        assert manifest.preprocessing is not None  # noqa: S101 - for the type checker: the recipe is of images
        return replace(manifest, preprocessing=replace(manifest.preprocessing, **changes))  # type: ignore[arg-type]

    return lambda path: change_manifest(path, change)


def _stale_weights(path: Path) -> None:
    state = torch.load(path / "state_dict.pt", weights_only=True)
    stream = io.BytesIO()
    torch.save({name: tensor * 1.001 for name, tensor in state.items()}, stream)
    replace_file(path, "state_dict.pt", stream.getvalue())


def _golden_of_others(path: Path) -> None:
    golden = read_golden((path / "golden.npz").read_bytes())
    moved = {name: np.roll(values, 1, axis=0) for name, values in golden.reference.items()}
    replace_file(path, "golden.npz", encode_golden(replace(golden, reference=moved)))


BUNDLE_FAULTS: tuple[BundleFault, ...] = (
    BundleFault(kind="two labels exchanged", plant=lambda path: change_manifest(path, _labels)),
    BundleFault(
        kind="a label renamed",
        plant=lambda path: change_manifest(path, lambda m: replace(m, labels=("O", *m.labels[1:]))),
    ),
    BundleFault(kind="resized by another interpolation", plant=_preprocessing(interpolation="bicubic")),
    BundleFault(kind="stretched where the drawing is to be cut out", plant=_preprocessing(fit="stretch")),
    BundleFault(kind="white under transparent pixels, not black", plant=_preprocessing(background=255)),
    BundleFault(
        kind="mean in the manifest that is not the recipe's",
        plant=lambda path: change_manifest(path, lambda m: replace(m, provenance=replace(m.provenance, mean=(0.5,)))),
    ),
    BundleFault(kind="weights beside the graphs that are not theirs", plant=_stale_weights),
    BundleFault(kind="golden outputs of other rows", plant=_golden_of_others),
    BundleFault(kind="exported with dropout on", plant=_in_onnx(lambda module: module.train())),
    BundleFault(kind="exported with one weight + 1 %", plant=_in_onnx(_one_weight)),
    BundleFault(kind="exported with one bias zeroed", plant=_in_onnx(_one_bias)),
    BundleFault(kind="exported with the mean 0.01 off", plant=_in_onnx(_shift_mean)),
    BundleFault(
        kind="exported with softmax twice",
        plant=_in_onnx(lambda module: After(module, lambda outputs: (outputs[0], outputs[1].softmax(dim=1)))),
    ),
    BundleFault(
        kind="exported with rows mixed",
        plant=_in_onnx(lambda m: After(m, lambda outputs: (outputs[0] + 1e-3 * outputs[0].mean(dim=0), outputs[1]))),
    ),
)

BUNDLE_VARIANTS: dict[str, tuple[str, ...]] = {
    "as exported": (),
    "as exported, other samples and noise": ("--seed", "1"),
    "as exported, quick": ("--quick",),
}
