"""Run a module as ``python -m`` does, and write into a file how much memory it took at most."""

import runpy
import sys
from pathlib import Path

from evaluate.bench.memory import peak_bytes


def main() -> None:
    """Run the module that the second argument names, with the arguments after it; the first is the file's path."""
    file, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:  # however it ends
        Path(file).write_text(str(peak_bytes() or 0), encoding="ascii")


if __name__ == "__main__":
    main()
