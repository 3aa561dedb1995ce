"""``python -m export``: configuration and wiring of the exporter."""

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Turn a training run into a bundle: graphs, weights, golden inputs and the manifest that vouches for them.

    The bundle is written beside its target and renamed when it is whole; a bundle that stands there is replaced then,
    anything else is left alone. Next: python -m evaluate parity BUNDLE.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Directory that `python -m train run` wrote."""
    out: Path | None = None
    """Bundle directory to write. Default: bundles/NAME."""
    formats: tuple[Literal["torchscript", "onnx"], ...] = ("onnx", "torchscript")
    """Graph files to write; serving needs onnx."""
    name: str | None = None
    """What the model is called when it is served. Default: the recipe's name."""
    data_root: Path | None = None
    """Where the data is, for the golden inputs. Default: DATA_ROOT, else where the run read it."""


def main(args: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    command = tyro.cli(Export, prog="python -m export", args=args)
    import os

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
    root = command.data_root or (Path(os.environ["DATA_ROOT"]) if os.environ.get("DATA_ROOT") else None)
    try:
        with Status("loading torch", console=console):
            from export.from_run import draft_of_run
            from export.write import Step, write_bundle

        def report(step: Step) -> None:
            console.print(f"  {step.path:<22} {step.size_bytes:>12,} bytes  {step.duration_s:6.2f} s")

        with Status(f"reading {command.run}", console=console) as status:
            draft = draft_of_run(command.run, data_root=root, name=command.name)
            out = command.out or Path("bundles") / draft.name
            console.print(f"exporting {command.run} to {out}")
            training = draft.provenance.training
            if not training["finished"]:
                done, planned = training["epochs"], training["epochs_planned"]
                console.print(f"note: the run was stopped after {done} of {planned} epochs")
            status.update("writing the graphs")
            manifest = write_bundle(out, draft, formats=command.formats, on_step=report)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {explain_missing(error)}", file=sys.stderr)
        return 2
    except (BundleError, DataError, ExportError, OSError, RecipeError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"bundle {out}  {draft.name}  sha256 {manifest.sha256[:16]}  {time.perf_counter() - start:.1f} s")
    print(f"next   python -m evaluate parity {shlex.quote(str(out))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
