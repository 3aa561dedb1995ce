"""The steps of a recipe as processes of their own, the commands that a user would type; none is left behind."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_S = 30.0
READY = "stop with Ctrl-C"
_PORT = re.compile(r"http://127\.0\.0\.1:(\d+)")


class StepError(ValueError):
    """A step that did not do what it is for."""


def run_module(arguments: Sequence[str], log: Path, *, allowed: Sequence[int] = (0,)) -> int:
    """Run ``python -m ...`` with its output in a file, and return its exit code.

    Raises:
        StepError: it exits otherwise than allowed; says its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=_environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait()
        except BaseException:
            stop(process)
            raise
    if code not in allowed:
        raise StepError(f"python -m {' '.join(arguments)} exited {code} ({last_line(log)}); all it said is in {log}")
    return code


@contextmanager
def served(bundle: Path, log: Path) -> Iterator[int]:
    """Serve a bundle on a free port until the block ends, then stop it by SIGTERM; give the port.

    Raises:
        StepError: the server does not come up, or does not exit 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "serve", str(bundle), "--port", "0", "--no-page"]
    process = subprocess.Popen(command, env=_environment(), stderr=subprocess.PIPE, text=True, encoding="utf-8")
    said = ""
    try:
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        for line in process.stderr:
            said += line
            if READY in line:
                break
        port = _PORT.search(said)
        if port is None:
            raise StepError(f"the server of {bundle} did not come up ({said.strip() or 'without a word'}); see {log}")
        yield int(port.group(1))
    finally:
        said += stop(process)
        log.write_text(said, encoding="utf-8")
    if process.returncode != 0:
        code = process.returncode
        raise StepError(f"the server of {bundle} exited {code} after SIGTERM, but 0 was expected; see {log}")


def stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> str:
    """Ask a process to end, wait, kill it if it does not; return what else it said on a pipe."""
    process.terminate()
    try:
        _, rest = process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        _, rest = process.communicate()
    return rest if isinstance(rest, str) else ""


def last_line(log: Path) -> str:
    """Return the last line of a file that is not blank."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "without a word"


def _environment() -> dict[str, str]:
    """Let the packages be found from any working directory, as they were found here."""
    here = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
