"""``python -m export``: configuration and wiring of the exporter."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from export.command import Certify, Export, check_flags

if TYPE_CHECKING:
    from export.write import Draft, Step


def main(args: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    command = tyro.cli(Export, prog="python -m export", args=args)
    from rich.console import Console
    from rich.status import Status

    from train.extra import explain_missing
    from train.threads import limit_spinning

    limit_spinning()

    from export.errors import ExportError
    from serve.bundle import BundleError
    from train.dataset import DataError
    from train.errors import RunError
    from train.recipes.recipe import RecipeError

    console = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    try:
        check_flags(command)
        with Status("loading torch", console=console):
            from export.write import write_bundle

        def report(step: "Step") -> None:
            console.print(f"  {step.path:<22} {step.size_bytes:>12,} bytes  {step.duration_s:6.2f} s")

        def remark(note: str) -> None:
            console.print(f"note: {note}", soft_wrap=True)

        source = command.run or command.network.factory
        with Status(f"reading {source}", console=console) as status:
            draft, notes = _draft(command)
            out = command.out or Path("bundles") / draft.name
            console.print(f"exporting {source} to {out}")
            for note in notes:
                remark(note)
            status.update("writing the graphs")
            manifest = write_bundle(out, draft, formats=command.formats, on_step=report, on_note=remark)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {explain_missing(error)}", file=sys.stderr)
        return 2
    except (BundleError, DataError, ExportError, OSError, RecipeError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"bundle {out}  {draft.name}  sha256 {manifest.sha256[:16]}  {time.perf_counter() - start:.1f} s", flush=True)
    return _certify(out, command.certify or ("none" if command.run else "quick"), command.network.factory)


def _draft(command: Export) -> tuple["Draft", tuple[str, ...]]:
    if command.run is None:
        from export.from_factory import draft_of_factory

        return draft_of_factory(command)
    from export.from_run import draft_of_run

    root = command.data_root or (Path(os.environ["DATA_ROOT"]) if os.environ.get("DATA_ROOT") else None)
    draft = draft_of_run(command.run, data_root=root, name=command.name)
    training = draft.provenance.training
    if training["finished"]:
        return draft, ()
    return draft, (f"the run was stopped after {training['epochs']} of {training['epochs_planned']} epochs",)


def _certify(out: Path, certify: Certify, factory: str | None) -> int:
    """Have the bundle judged, by a process of its own: evaluate builds on export, never the other way round."""
    options = ["--factory", factory] if factory else []
    parity = ["parity", str(out), *options]
    if certify == "none":
        print(f"next   python -m evaluate {shlex.join(parity)}")
        return 0
    quick = ["--quick"] if certify == "quick" else []
    try:
        return subprocess.run([sys.executable, "-m", "evaluate", *parity, *quick], check=False).returncode
    except KeyboardInterrupt:
        print(f"stopped; {out} is written, but not certified", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
