"""``python -m evaluate``: configuration and wiring of the harness."""

import sys
import traceback
from contextlib import suppress
from typing import Annotated

import tyro

from evaluate.commands.accuracy import Accuracy, run_accuracy
from evaluate.commands.alarms import Alarms, run_alarms
from evaluate.commands.bench import Bench, run_bench
from evaluate.commands.blame import BlameGraph, run_blame
from evaluate.commands.faults import Faults, run_faults
from evaluate.commands.options import OptionError
from evaluate.commands.parity import Parity, run_parity
from evaluate.commands.report import Report, run_report
from evaluate.commands.targets import TargetError
from evaluate.commands.zoo import Zoo, run_zoo
from serve.command_line import told_in_one_sentence
from serve.stdout import READER_LEFT, reader_left, run_main, stdout_trouble

_PROG = "python -m evaluate"


class CommandError(ValueError):
    """A command line that cannot be carried out."""


Command = (
    Annotated[Parity, tyro.conf.subcommand("parity")]
    | Annotated[Accuracy, tyro.conf.subcommand("accuracy")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[BlameGraph, tyro.conf.subcommand("blame")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Faults, tyro.conf.subcommand("faults")]
    | Annotated[Zoo, tyro.conf.subcommand("zoo")]
    | Annotated[Alarms, tyro.conf.subcommand("alarms")]
)


def main(args: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command: Parity | Accuracy | Bench | BlameGraph | Report | Faults | Zoo | Alarms
    with told_in_one_sentence(Command, prog=_PROG, args=args):
        command = tyro.cli(Command, prog=_PROG, args=args)
    from evaluate.accuracy.trouble import AccuracyError
    from evaluate.bench.result import BenchError
    from evaluate.trouble import ParityError
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
            return run_parity(command)
        if isinstance(command, Accuracy):
            return run_accuracy(command)
        if isinstance(command, Bench):
            return run_bench(command)
        if isinstance(command, BlameGraph):
            return run_blame(command)
        if isinstance(command, Report):
            return run_report(command)
        from evaluate.alarms.result import AlarmsError
        from evaluate.faults.case import FaultsError
        from evaluate.zoo.run import ZooError

        try:
            if isinstance(command, Alarms):
                return run_alarms(command)
            return run_faults(command) if isinstance(command, Faults) else run_zoo(command)
        except (AlarmsError, FaultsError, ZooError) as error:
            raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        goes_on = isinstance(command, Alarms | Faults | Zoo)
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
        OptionError,
        OSError,
        ParityError,
        ProviderError,
        RecipeError,
        SigningError,
        TargetError,
    ) as error:
        return _end_with(error)
    except Exception:  # noqa: BLE001 - Python would exit 1, which here says that parity fails
        traceback.print_exc()
    return 2


def _end_with(error: Exception) -> int:
    if reader_left(error):
        return READER_LEFT
    trouble = stdout_trouble(error) if isinstance(error, OSError) else None
    with suppress(BrokenPipeError):  # nobody reads stderr either
        print(f"error: {trouble or error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run_main(main))
