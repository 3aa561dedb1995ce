"""Source lines that torch records in graphs, told without the place of the machine that they stand on."""

import re
import sys
from pathlib import Path

_FRAME = re.compile(r'File "([^"]+)"')


def shorten_frames(trace: str) -> str:
    """Make the file names of a stack trace relative: a bundle tells nobody whose home it was made in."""
    roots = sorted((str(Path(entry).resolve()) for entry in sys.path if entry), key=len, reverse=True)
    roots.append(str(Path.cwd()))

    def shorten(match: re.Match[str]) -> str:
        name = match.group(1)
        root = next((root for root in roots if name.startswith(root + "/")), None)
        return f'File "{name[len(root) + 1 :] if root else Path(name).name}"'

    return _FRAME.sub(shorten, trace)
