"""A server as a user starts one: a process of its own, on a free port, stopped by SIGTERM."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True, kw_only=True)
class Served:
    """A running server: where it listens, and what it said on stderr until it was ready."""

    url: str
    said: str
    process: subprocess.Popen[str] = field(repr=False)


@contextmanager
def serving(
    *args: str,
    python: str = sys.executable,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Start ``python -m serve ARGS`` on a free port, and stop it again; it must then exit 0."""
    process = subprocess.Popen(
        [python, "-m", "serve", *args, "--port", "0"],
        cwd=cwd,
        env=dict(environment) if environment is not None else {**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "stop with Ctrl-C" in line:
                break
        said = "".join(lines)
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url is not None, f"the server did not come up:\n{said}"
        yield Served(url=url.group(), said=said, process=process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, rest = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()
    assert process.returncode == 0, f"the server exited {process.returncode}:\n{said}{rest}"
