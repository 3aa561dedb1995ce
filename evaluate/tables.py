"""How all tables name things, and where they are printed."""

import os
import sys

from rich.console import Console

from evaluate.certificate import Setting
from evaluate.graph_verdict import GraphVerdict
from serve.stdout import let_rest

_PIPE_WIDTH = 132
_MIB = 2**20


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on where nobody reads any more: rich would exit with 1, which says that parity fails."""
        self.quiet = True
        let_rest(self.file)


def stdout_console() -> Console:
    """Return a console on stdout, wide enough for tables where it is a file or a pipe and COLUMNS is not set."""
    columns = os.environ.get("COLUMNS", "")
    known = sys.stdout.isatty() or (columns.isascii() and columns.isdigit() and int(columns) > 0)
    return _Console(highlight=False, width=None if known else _PIPE_WIDTH, soft_wrap=False)


def stderr_console() -> Console:
    """Return a console on stderr, for what is being done."""
    return _Console(stderr=True)


def way(graph: GraphVerdict, setting: Setting) -> str:
    """Say in which way a graph was run: ``2 threads, as written``."""
    usual = setting.torch_threads if graph.provider == "torch CPU" else setting.onnxruntime_threads
    usual_everywhere = setting.torch_threads == setting.onnxruntime_threads
    count = graph.threads or usual
    threads = f"{count} threads" if count == usual and count != 1 and usual_everywhere else "all threads"
    if count == 1:
        threads = "1 thread"
    return threads if graph.optimized else f"{threads}, as written"


def short(provider: str) -> str:
    """Return ONNX Runtime's provider name without what all of them end in."""
    return provider.removesuffix("ExecutionProvider")


def size(size_bytes: int) -> str:
    """Return the size of a file for people."""
    return f"{size_bytes / _MIB:.2f} MiB" if size_bytes >= _MIB / 10 else f"{size_bytes / 2**10:.1f} KiB"
