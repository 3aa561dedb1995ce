"""``python -m evaluate parity``."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from evaluate.commands.options import ALL, BundlePath, check_threads, chosen
from evaluate.commands.shared_options import FactoryName, JsonFile, Key, Provider, Trust
from evaluate.commands.targets import TargetError, check_file
from evaluate.commands.written import report
from evaluate.trouble import ParityError
from train.data_root import default_data_root

if TYPE_CHECKING:
    from evaluate.certificate import Certificate
    from serve.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Compare every exported graph with the eager PyTorch module in float64, and write the certificate.

    Exit code 0: parity holds. 1: it fails, or nothing was proven. 2: trouble.
    """

    bundle: BundlePath
    """Directory that `python -m export` wrote."""
    data_root: Path = field(default_factory=default_data_root)
    """Where the recipe's data is (or DATA_ROOT); without it the bundle's own held-out samples are used."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Samples of your own instead: a folder of images, a .csv or .parquet with the columns, an .npz with the inputs."""
    samples: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Held-out samples at most. Default: 2048, with --quick 256, and fewer where a row costs much."""
    runners: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="RUNNER [RUNNER ...]", help_behavior_hint="(default: all)")
    ] = ALL
    """Certify only these: onnx, torchscript, exported-program, onnx-fp16, onnx-int8, or files such as graph.onnx."""
    provider: Provider = "auto"
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of a run, of PyTorch and of every graph. Default: all; and graphs also with one, unless --quick."""
    optimization: Literal["auto", "all", "none"] = "auto"
    """ONNX graphs as ONNX Runtime rewrites them (all) or as written (none); auto means both, but with --quick all."""
    seed: int = 0
    """Decides which samples, the noise, and the pairs on the decision boundary."""
    quick: bool = False
    """Fewer samples and input sets, and graphs only as they are served; the certificate says so."""
    max_drop: float = 0.5
    """Loss of accuracy, in points of a per cent, that float16 and int8 graphs may have."""
    factory: FactoryName = None
    trust: Trust = False
    require_signature: Key = None
    json: JsonFile = None
    junit: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the verdicts as JUnit XML, which systems of continuous integration show, to this file."""
    certificate: bool = True
    """Write certificate.json into the bundle, in place of the one that is there."""


def run_parity(command: Parity) -> int:
    """Judge, print, and write what was asked for.

    Raises:
        BundleError: there is no bundle, or none to be trusted.
        ParityError: what was asked for makes no sense, or the certificate cannot be written.
        ProviderError: CUDA was asked for and there is none.
        TargetError: a file that was asked for cannot stand there.
    """
    _check(command)
    started = time.perf_counter()
    bundle = _read(command)  # before torch, which takes its seconds

    from rich.status import Status

    from evaluate.tables import stderr_console

    with Status("loading torch", console=stderr_console()) as status:
        from evaluate.agreement import earlier_certificate, loses_what_was_known, sentences
        from evaluate.judge import certify
        from evaluate.print_certificate import print_certificate
        from evaluate.source import held_out_of
        from export.factory import load_factory

        earlier = earlier_certificate(bundle)
        certificate = certify(
            bundle,
            data_root=command.data_root,
            provider=command.provider,
            samples=command.samples,
            seed=command.seed,
            quick=command.quick,
            max_drop=command.max_drop / 100,
            factory=None if command.factory is None else load_factory(command.factory),
            threads=command.threads,
            optimization=None if command.optimization == "auto" else command.optimization,
            runners=chosen("--runners", command.runners, "onnx"),
            held_out=None if command.data is None else held_out_of(command.data, bundle.manifest),
            on_step=status.update,
        )
    with ExitStack() as others:  # none of the three takes the others down
        others.callback(_write_junit, certificate, command.junit)
        others.callback(report, certificate, print_certificate, command.json)
        path = _write(certificate, command) if command.certificate else None
    for sentence in sentences(earlier, certificate) if earlier is not None else ():
        print(sentence, file=sys.stderr)
    if path is not None:
        print(f"certificate {path}, made in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        if earlier is not None and loses_what_was_known(earlier, certificate):
            print("it replaced one that rested on more; --no-certificate tries without writing", file=sys.stderr)
    return 0 if certificate.passed else 1


def _check(command: Parity) -> None:
    """Refuse before anything is run what would fail after it."""
    check_file("--json", command.json)
    check_file("--junit", command.junit)
    if command.samples is not None and command.samples < 1:
        raise ParityError(f"--samples is {command.samples}, but at least 1 is needed to prove anything")
    check_threads(command.threads)
    if command.seed < 0:
        raise ParityError(f"--seed is {command.seed}, but seeds are 0 or greater; leave it out")
    if not 0 <= command.max_drop <= 100:
        raise ParityError(f"--max-drop is {command.max_drop:g}, but points of a per cent lie in 0 to 100")


def _read(command: Parity) -> "Bundle":
    """Read the bundle; of a stranger's exported program, which is not to be judged, nothing is loaded."""
    from evaluate.trust import read_trusted, refuse_programs
    from evaluate.ways import choose_graphs
    from serve.devices import choose_provider

    choose_provider(command.provider)
    bundle = read_trusted(
        command.bundle,
        trust=command.trust or command.runners != ALL,
        public_key=command.require_signature,
        certificate=False,  # a damaged one is made anew
    )
    program = bundle.entry("exported-program")
    graphs = choose_graphs(bundle, chosen("--runners", command.runners, "onnx"))
    if program is not None and program.path in graphs and command.require_signature is None and not command.trust:
        refuse_programs(bundle)
    return bundle


def _write(certificate: "Certificate", command: Parity) -> Path:
    """Write the certificate into the bundle."""
    from evaluate.certificate import write_certificate

    try:
        return write_certificate(certificate, command.bundle)
    except OSError as error:
        raise ParityError(
            f"{command.bundle} cannot be written to ({error.strerror}), but its certificate is to stand there; "
            "make it writable, or give --no-certificate"
        ) from error


def _write_junit(certificate: "Certificate", path: Path | None) -> None:
    from evaluate.junit import junit_xml
    from train.whole_file import write_whole

    if path is None:
        return
    try:
        write_whole(path.resolve(), junit_xml(certificate))
    except OSError as error:
        raise TargetError(
            f"--junit is {path}, but it cannot be written ({error.strerror}); give a file in a folder of yours"
        ) from error
