"""Where data sets lie when nothing else is said."""

import os
from pathlib import Path


def default_data_root() -> Path:
    """Return the folder that ``DATA_ROOT`` names, else ``data``."""
    return Path(os.environ.get("DATA_ROOT") or "data")
