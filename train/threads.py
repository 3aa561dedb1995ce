"""How torch's threads wait for each other; to be called before torch is imported."""

import os

_SPIN_COUNT = "10000"


def limit_spinning() -> None:
    """Let OpenMP threads sleep soon after an operation instead of spinning for milliseconds.

    With other processes on the same cores, spinning made steps of small networks ten to a hundred times slower; some
    microseconds of it lose nothing on an idle machine. A ``GOMP_SPINCOUNT`` that is set already is left as it is.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
