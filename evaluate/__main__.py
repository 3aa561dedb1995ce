"""``python -m evaluate``: configuration and wiring of the harness."""

import sys
import time
import traceback
from typing import TYPE_CHECKING, Annotated

import tyro

from evaluate.commands.accuracy import Accuracy, run_accuracy
from evaluate.commands.bench import Bench, run_bench
from evaluate.commands.blame import BlameGraph, run_blame
from evaluate.commands.faults import Faults, run_faults
from evaluate.commands.options import Parity
from evaluate.commands.targets import TargetError, check_file
from evaluate.commands.written import report
from evaluate.commands.zoo import Zoo, run_zoo

if TYPE_CHECKING:
    from rich.status import Status

    from export.factory import Factory
    from serve.bundle import Bundle


class CommandError(ValueError):
    """A command line that cannot be carried out."""


Command = (
    Annotated[Parity, tyro.conf.subcommand("parity")]
    | Annotated[Accuracy, tyro.conf.subcommand("accuracy")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[BlameGraph, tyro.conf.subcommand("blame")]
    | Annotated[Faults, tyro.conf.subcommand("faults")]
    | Annotated[Zoo, tyro.conf.subcommand("zoo")]
)


def main(args: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command: Parity | Accuracy | Bench | BlameGraph | Faults | Zoo = tyro.cli(
        Command, prog="python -m evaluate", args=args
    )
    from rich.console import Console
    from rich.status import Status

    from evaluate.accuracy.trouble import AccuracyError
    from evaluate.bench.result import BenchError
    from export.errors import ExportError
    from serve.bundle import BundleError
    from serve.devices import ProviderError
    from serve.signing import SigningError
    from train.dataset import DataError
    from train.extra import explain_missing
    from train.recipes.recipe import RecipeError
    from train.threads import limit_spinning

    limit_spinning()

    try:
        if isinstance(command, Parity):
            check_file("--json", command.json)
        with Status("loading torch", console=Console(stderr=True)) as status:
            if isinstance(command, Parity):
                return _parity(command, status)
            status.stop()
            if isinstance(command, Accuracy):
                return run_accuracy(command)
            if isinstance(command, Bench):
                return run_bench(command)
            if isinstance(command, BlameGraph):
                return run_blame(command)
            from evaluate.faults.case import FaultsError
            from evaluate.zoo.run import ZooError

            try:
                return run_faults(command) if isinstance(command, Faults) else run_zoo(command)
            except (FaultsError, ZooError) as error:
                raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        goes_on = isinstance(command, Faults | Zoo)
        kept = "what is done is kept, and the same command goes on from there" if goes_on else "nothing was written"
        print(f"stopped; {kept}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {explain_missing(error)}", file=sys.stderr)
    except (
        AccuracyError,
        BenchError,
        BundleError,
        CommandError,
        DataError,
        ExportError,
        OSError,
        ProviderError,
        RecipeError,
        SigningError,
        TargetError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception:  # noqa: BLE001 - Python would exit 1, which here says that parity fails
        traceback.print_exc()
    return 2


def _parity(command: Parity, status: "Status") -> int:
    from evaluate.certificate import write_certificate
    from evaluate.judge import certify
    from evaluate.tables import print_certificate

    if command.samples is not None and command.samples < 1:
        raise CommandError(f"--samples is {command.samples}, but at least 1 is needed to prove anything")
    if not 0 <= command.max_drop <= 100:
        raise CommandError(f"--max-drop is {command.max_drop:g}, but points of a per cent lie in 0 to 100")
    started = time.perf_counter()
    bundle = _read(command)
    certificate = certify(
        bundle,
        data_root=command.data_root,
        provider=command.provider,
        samples=command.samples,
        seed=command.seed,
        quick=command.quick,
        max_drop=command.max_drop / 100,
        factory=_factory(command.factory),
        on_step=status.update,
    )
    status.stop()
    path = None
    try:
        path = write_certificate(certificate, command.bundle) if command.certificate else None
    except OSError as error:
        raise CommandError(
            f"{command.bundle} cannot be written to ({error.strerror}), but its certificate is to stand there; "
            "make it writable, or give --no-certificate"
        ) from error
    finally:  # neither of the two takes the other down
        report(certificate, print_certificate, command.json)
    if path is not None:
        print(f"certificate {path}, made in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return 0 if certificate.passed else 1


def _read(command: Parity) -> "Bundle":
    from evaluate.trust import read_trusted

    return read_trusted(command.bundle, trust=command.trust, public_key=command.require_signature)


def _factory(text: str | None) -> "Factory | None":
    """Import the factory that the user named on his own command line."""
    if text is None:
        return None
    from export.factory import load_factory

    return load_factory(text)


if __name__ == "__main__":
    sys.exit(main())
