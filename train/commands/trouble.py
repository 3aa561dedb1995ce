"""How every command says that it cannot go on."""

import sys


def trouble(error: Exception | str) -> int:
    """Print the one sentence on stderr and return exit code 2."""
    print(f"error: {error}", file=sys.stderr)
    return 2
