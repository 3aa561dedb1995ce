"""The bundle that every command of a bundle takes."""

from pathlib import Path
from typing import Annotated

import tyro

BundlePath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
