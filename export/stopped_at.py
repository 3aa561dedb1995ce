"""At which part of a user's network, and at which line of its source, an exporter stopped."""

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from types import FrameType
from typing import NoReturn

import torch
from torch import fx, nn

from export.errors import ExportError
from export.held_tensors import part_name
from export.source_lines import shorten_frames

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in [^\n]+(?:\n +([^\n]+))?')
_NOT_THE_USERS = (Path(torch.__file__).parent, Path(__file__).parent)
_LONGEST = 100  # signs of a source line that are quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a network.

    Attributes:
        part: What people call the part, and its class.
        line: Its file, line and text, with what leads up to them in a sentence; empty where no line is the user's.
    """

    part: str
    line: str = ""

    @property
    def subject(self) -> str:
        """The part and the line, for a verb to follow."""
        return f"{self.part}{self.line}," if self.line else self.part


def stopped_at(module: nn.Module, error: BaseException) -> Place:
    """Find where an exporter stopped: by the node that it could not translate, or by the line that it was running.

    Args:
        module: The deployable module.
        error: What the exporter raised. Of a node it tells the name alone, but its frames hold it (torch 2.15).
    """
    frames = [frame for one in _chain(error) for frame, _ in traceback.walk_tb(one.__traceback__)]
    nodes = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, fx.Node)]
    if nodes:
        stack = nodes[-1].meta.get("nn_module_stack") or {"": ("", "")}
        return Place(
            part=_called(module, str(list(stack.values())[-1][0])), line=_line(nodes[-1].meta.get("stack_trace") or "")
        )
    names = {id(part): name for name, part in module.named_modules()}
    running = [
        (frame, line)
        for one in _chain(error)
        for frame, line in traceback.walk_tb(one.__traceback__)
        if id(frame.f_locals.get("self")) in names and _is_the_users(frame.f_code.co_filename)
    ]
    if not running:
        return Place(part=part_name(module, ""))
    frame, line = running[-1]
    return Place(part=_called(module, names[id(frame.f_locals["self"])]), line=_line(_told(frame, line)))


def decides_by_data(error: BaseException) -> bool:
    """Say whether an exporter stopped at a branch or a count on values that nobody knows before the network runs."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode  # half a second, with sympy

    return any(isinstance(one, GuardOnDataDependentSymNode) for one in _chain(error))


def refuse_decision(place: Place, what: str, error: BaseException) -> NoReturn:
    """Refuse a network that decides by its data.

    Raises:
        ExportError: always.
    """
    raise ExportError(
        f"{place.subject} decides by its data, but {what} holds one way only; write it with tensor "
        "operations, such as torch.where, without branches or loops on data"
    ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _called(module: nn.Module, path: str) -> str:
    """Return a part's name within the network and its class; of the network itself, the class alone."""
    name, network = part_name(module, path), part_name(module, "")
    part = dict(module.named_modules()).get(path)
    return name if part is None or name == network else f"{name} ({type(part).__name__})"


def _told(frame: FrameType, line: int) -> str:
    """Return a frame as stack traces tell it."""
    summary = traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)
    return f'File "{summary.filename}", line {line}, in {summary.name}\n  {summary.line}'


def _line(trace: str) -> str:
    """Return the innermost line of a stack trace that is the user's."""
    frames = [match for match in _FRAME.finditer(trace) if _is_the_users(match[1])]
    if not frames:
        return ""
    name, line, code = _FRAME.findall(shorten_frames(frames[-1][0]))[0]
    text = shorten(code, _LONGEST, placeholder=" …")
    return f", at {name}:{line}" + (f" ({text})" if text else "")


def _is_the_users(name: str) -> bool:
    return not any(Path(name).is_relative_to(place) for place in _NOT_THE_USERS)
