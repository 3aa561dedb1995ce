"""Which source this is."""

import subprocess
from pathlib import Path


def source_revision() -> str | None:
    """Return the git commit of this source, with ``-dirty`` where it was changed since; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
