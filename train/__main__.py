"""The command line of training; each command is a module of `train.commands`."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from serve.command_line import told_in_one_sentence
from serve.stdout import run_main
from train.commands.compare import CompareCommand, compare
from train.commands.folder import FolderCommand, train_folder
from train.commands.listing import ListCommand, show_list
from train.commands.reproduce import ReproduceCommand, reproduce
from train.commands.run import RunCommand, run_recipe
from train.commands.show import ShowCommand, show
from train.commands.study import StudyCommand, carry_out_study

_PROG = "python -m train"
Command = (
    Annotated[ListCommand, tyro.conf.subcommand("list")]
    | Annotated[RunCommand, tyro.conf.subcommand("run")]
    | Annotated[FolderCommand, tyro.conf.subcommand("folder")]
    | Annotated[CompareCommand, tyro.conf.subcommand("compare")]
    | Annotated[ShowCommand, tyro.conf.subcommand("show")]
    | Annotated[StudyCommand, tyro.conf.subcommand("study")]
    | Annotated[ReproduceCommand, tyro.conf.subcommand("reproduce")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command: ListCommand | RunCommand | FolderCommand | CompareCommand | ShowCommand | StudyCommand | ReproduceCommand
    with told_in_one_sentence(Command, prog=_PROG, args=arguments):
        command = tyro.cli(
            Command,
            prog=_PROG,
            description="Train a recipe, or images of your own, into a run that `python -m export` takes.",
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # curves are drawn in characters that not every terminal has
    match command:
        case ListCommand():
            return show_list(command)
        case RunCommand():
            return run_recipe(command)
        case FolderCommand():
            return train_folder(command)
        case CompareCommand():
            return compare(command)
        case ShowCommand():
            return show(command)
        case StudyCommand():
            return carry_out_study(command)
        case ReproduceCommand():
            return reproduce(command)


if __name__ == "__main__":
    sys.exit(run_main(main))
