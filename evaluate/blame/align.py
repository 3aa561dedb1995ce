"""Which step of a graph is which operation of PyTorch's: both run in order, and mostly say where they are from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from evaluate.blame.lines import Program
from evaluate.blame.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Steps and lines, paired.

    Attributes:
        among: Names of the lines that were to be paired.
        value_of: By the name of a line, the value of the graph that is the same thing.
        steps_of: By the name of a line, the places of the steps that it became.
        line_of: By the name of a value, the line that it is the same thing as.
    """

    among: frozenset[str]
    value_of: dict[str, str]
    steps_of: dict[str, tuple[int, ...]]
    line_of: dict[str, str]


def align(steps: Sequence[Step], program: Program, inputs: Sequence[str], *, among: frozenset[str]) -> Alignment:
    """Pair the steps of a graph with the lines of a program.

    Args:
        steps: Of the graph under test.
        program: The reference.
        inputs: Names of the graph's inputs, in the program's order.
        among: Names of the lines that a right graph has steps for; others are optimised away.
    """
    groups = _groups(steps)
    lines = [line for line in program.lines if line.name in among]
    keys = [(line.path, line.operator) for line in lines]
    pairs = _pair([steps[group[0]].key for group in groups], keys)
    value_of = dict(zip(program.inputs, inputs, strict=True))
    steps_of: dict[str, tuple[int, ...]] = {}
    items = _items(program)
    for group_index, line_index in pairs:
        line, group = lines[line_index], groups[group_index]
        results = steps[group[-1]].outputs
        steps_of[line.name] = group
        if line.name not in items:
            value_of[line.name] = results[0]
        for place, item in items.get(line.name, {}).items():
            if place < len(results):
                value_of[item] = results[place]
                steps_of[item] = group
    line_of = {value: name for name, value in value_of.items()}
    return Alignment(among=among, value_of=value_of, steps_of=steps_of, line_of=line_of)


def borrow_keys(steps: Sequence[Step], fresh: Sequence[Step]) -> tuple[Step, ...]:
    """Give a graph whose nodes say nothing the keys of one that was just exported, node type by node type."""
    told = sum(step.key is not None for step in steps)
    if 2 * told >= len(steps):
        return tuple(steps)
    matcher = SequenceMatcher(None, [s.operator for s in steps], [s.operator for s in fresh], autojunk=False)
    lent = list(steps)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            known, index = fresh[block.b + offset], block.a + offset
            lent[index] = replace(steps[index], path=known.path, source=known.source, key=known.key, group=known.group)
    return tuple(lent)


def _groups(steps: Sequence[Step]) -> list[tuple[int, ...]]:
    """Return the places of the steps of each operation; those that do not say which are left out."""
    found: dict[str, list[int]] = {}
    for index, step in enumerate(steps):
        if step.key is not None:
            found.setdefault(step.group, []).append(index)
    return sorted((tuple(group) for group in found.values()), key=lambda group: group[-1])


def _items(program: Program) -> dict[str, dict[int, str]]:
    """Return the lines that take one item of a result that is several, by that result and their place in it."""
    items: dict[str, dict[int, str]] = {}
    for line in program.lines:
        if line.item is not None:
            items.setdefault(line.inputs[0], {})[line.item] = line.name
    return items


def _pair(found: Sequence[tuple[str, str] | None], expected: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    pairs = []
    matcher = SequenceMatcher(None, found, expected, autojunk=False)
    for tag, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        if tag == "equal":
            pairs += list(zip(range(a_start, a_end), range(b_start, b_end), strict=True))
        elif tag == "replace":
            pairs += _pair_others(found, expected, range(a_start, a_end), range(b_start, b_end))
    return pairs


def _pair_others(
    found: Sequence[tuple[str, str] | None], expected: Sequence[tuple[str, str]], left: range, right: range
) -> list[tuple[int, int]]:
    """Pair what stands in the same place and the same module, or is the same operation in a module that was renamed."""
    pairs = []
    start = right.start
    for index in left:
        key = found[index]
        places = range(start, right.stop)
        if len(left) == len(right):
            places = range(index - left.start + right.start, index - left.start + right.start + 1)
        same = [
            place
            for place in places
            if key is not None and (key[0] == expected[place][0] or key[1] == expected[place][1])
        ]
        if same:
            pairs.append((index, same[0]))
            start = same[0] + 1
    return pairs
