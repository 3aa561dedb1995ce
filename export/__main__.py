"""``python -m export``: configuration and wiring of the exporter."""

import os
import shlex
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from export.command import Certify, Export, check_flags
from serve.command_line import told_in_one_sentence
from serve.stdout import run_main

if TYPE_CHECKING:
    from export.draft import Draft

_PROG = "python -m export"
_CODES = (0, 1, 2, 130)  # of evaluate: parity holds, it fails, trouble, stopped
_AGAIN = "run `python -m evaluate parity` on it, where there is more memory say"


def main(args: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    with told_in_one_sentence(Export, prog=_PROG, args=args):
        command = tyro.cli(Export, prog=_PROG, args=args)
    from rich.console import Console

    from train.extra import explain_missing
    from train.threads import limit_spinning

    limit_spinning()

    from export.errors import ExportError
    from export.progress import ExportProgress, Step
    from serve.bundle import BundleError
    from train.dataset import DataError
    from train.errors import RunError
    from train.recipes.recipe import RecipeError

    progress = ExportProgress(Console(stderr=True))
    listener = progress.listener
    start = time.perf_counter()
    try:
        check_flags(command)
        source = command.run or command.network.factory
        with progress:
            with listener.step("network read, torch loaded", "loading torch"):
                from export.write import write_bundle

                listener.on_start(f"reading {source}")
                draft, notes, data_root = _draft(command)
            out = command.out or Path("bundles") / draft.name
            progress.say(f"exporting {source} to {out}")
            for note in notes:
                listener.on_note(note)
            manifest = write_bundle(out, draft, formats=command.formats, opset=command.opset, listener=listener)
            listener.on_step(Step(name="bundle written", size_bytes=_size(out), duration_s=time.perf_counter() - start))
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {explain_missing(error)}", file=sys.stderr)
        return 2
    except (BundleError, DataError, ExportError, OSError, RecipeError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 - Python would exit 1, which here says that parity fails
        traceback.print_exc()
        return 2
    print(f"bundle {out}  {draft.name}  sha256 {manifest.sha256[:16]}  {time.perf_counter() - start:.1f} s", flush=True)
    begun = time.perf_counter()
    certify = command.certify or ("none" if command.run else "quick")
    options = [
        *(["--data-root", str(data_root)] if data_root else []),
        *(["--factory", command.network.factory] if command.network.factory else []),
        *(["--trust"] if "exported-program" in command.formats else []),  # it was written here
    ]
    code = _certify(out, certify, options)
    if certify != "none":
        now = time.perf_counter()
        listener.on_step(Step(name=f"certificate ({certify})", duration_s=now - begun))
        listener.on_step(Step(name="in all", size_bytes=_size(out), duration_s=now - start))
    return code


def _size(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())


def _draft(command: Export) -> tuple["Draft", tuple[str, ...], Path | None]:
    """Return what to write, notes, and where the judge finds the data, if it would not look there itself."""
    if command.run is None:
        from export.from_factory import draft_of_factory

        return *draft_of_factory(command), None
    from export.from_run import draft_of_run
    from train.data_root import default_data_root
    from train.recipe_of_run import data_root_of
    from train.run import read_run

    root = command.data_root or (Path(os.environ["DATA_ROOT"]) if os.environ.get("DATA_ROOT") else None)
    draft = draft_of_run(command.run, data_root=root, name=command.name)
    read = data_root_of(read_run(command.run), root)
    elsewhere = None if read.resolve() == default_data_root().resolve() else read
    training = draft.provenance.training
    if training["finished"]:
        return draft, (), elsewhere
    note = f"the run was stopped after {training['epochs']} of {training['epochs_planned']} epochs"
    return draft, (note,), elsewhere


def _certify(out: Path, certify: Certify, options: list[str]) -> int:
    """Have the bundle judged, by a process of its own: evaluate builds on export, never the other way round."""
    parity = ["parity", str(out), *options]
    if certify == "none":
        print(f"next   python -m evaluate {shlex.join(parity)}")
        return 0
    quick = ["--quick"] if certify == "quick" else []
    try:
        code = subprocess.run([sys.executable, "-m", "evaluate", *parity, *quick], check=False).returncode
    except KeyboardInterrupt:
        print(f"stopped; {out} is written, but not certified", file=sys.stderr)
        return 130
    except OSError as error:  # no memory for a process, say
        print(f"error: {out} is written, but evaluate could not be started ({error}); {_AGAIN}", file=sys.stderr)
        return 2
    if code in _CODES:
        return code
    ended = f"was killed by signal {-code}" if code < 0 else f"exited {code}"
    print(f"error: {out} is written, but evaluate {ended} before it could judge it; {_AGAIN}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(run_main(main))
