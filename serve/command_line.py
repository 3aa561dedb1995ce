"""What is wrong with a command line, in one sentence, and what may have been meant; not what it cannot carry out."""

import dataclasses
import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, get_args, get_type_hints

import tyro


@contextmanager
def told_in_one_sentence(command: object, *, prog: str, args: Sequence[str] | None) -> Iterator[None]:
    """Say what is wrong with a command line in one sentence on stderr, where tyro would draw a box, and exit 2.

    Args:
        command: What tyro parses into: a dataclass, or a union of them, each a subcommand.
        prog: What the command line is called.
        args: The arguments; those of this process where it is None.

    The events are private to tyro (1.0.17). Where another version has none, or others, its own box is drawn.
    """
    try:
        from tyro import _errors
    except ImportError:
        yield
        return

    def tell(event: _errors.ParseErrorEvent) -> None:
        try:
            told = _Told(command, prog=prog, args=sys.argv[1:] if args is None else args)
            sentence = told.sentence(type(event).__name__, event)
        except (AttributeError, LookupError, TypeError):
            return
        if sentence:
            _exit(sentence)

    with _errors.on_parse_error(tell):
        yield


class _Told:
    """What is known of a command line, to say what is wrong with it."""

    def __init__(self, command: object, *, prog: str, args: Sequence[str]) -> None:
        self.args = args
        self.commands = dict(_subcommands(command))
        first = next((arg for arg in args if not arg.startswith("-")), None)
        self.given = first
        self.chosen = first if first in self.commands else None
        self.prog = f"{prog} {self.chosen}" if self.chosen else prog
        record = self.commands[self.chosen] if self.chosen else command
        self.options = tuple(_options(record)) if isinstance(record, type) else ()
        self.help = f"see `{self.prog} --help`"

    def sentence(self, kind: str, event: Any) -> str | None:  # noqa: ANN401 - tyro's, by its name
        if kind == "UnrecognizedArgs":
            return self.unknown(event.tokens)
        if kind == "MissingSubcommand":
            return f"no command is given, but one of {', '.join(self.commands)} was expected; {self.help}"
        if kind == "MissingArgs":
            return self.missing([item.arg for item in event.missing_arguments])
        if kind == "BadValue" and event.reason == "too_few_values":
            if event.argument.is_positional():
                return self.missing([event.argument])
            return f"{_name(event.argument)} is given without a value, but one was expected; give it, or {self.help}"
        if kind == "InvalidChoice":
            choices = list(event.choices)
            if "None" in choices:  # what may be left out, and then is in no order (tyro 1.0.17)
                choices = sorted({*choices} - {"None"})
            remedy = _did_you_mean(event.value, choices) or "choose one of those"
            return f"{_name(event.argument)} is {event.value!r}, but one of {', '.join(choices)} was expected; {remedy}"
        if kind == "InstantiationFailure" and event.argument is not None:
            return self.unreadable(_name(event.argument), str(event.argument.lowered.metavar), event.message)
        return None

    def missing(self, arguments: Sequence[Any]) -> str:
        """Say what is missing; but first of an option that is none, which may be what was to bring it."""
        known = {*self.options}
        names = [arg.partition("=")[0] for arg in self.args if arg.startswith("--")]
        strange = [name for name in names if name.replace("_", "-").replace("--no-", "--") not in known]
        if strange:
            return self.unknown(strange)
        missing = ", ".join(_name(argument) for argument in arguments)
        return f"{missing} is missing, but `{self.prog}` needs it; {self.help}"

    def unknown(self, tokens: Sequence[str]) -> str:
        """Say of an argument that nobody knows what it is, and what may have been meant."""
        if self.commands and self.chosen is None and self.given is not None:
            remedy = _did_you_mean(self.given, self.commands) or self.help
            return (
                f"command {self.given!r} does not exist, but one of {', '.join(self.commands)} was expected; {remedy}"
            )
        option = next((token for token in tokens if token.startswith("-")), None)
        if option is None:
            return f"{tokens[0]!r} is one argument more than `{self.prog}` takes; leave it out, or {self.help}"
        name = option.partition("=")[0]
        remedy = _did_you_mean(name, self.options) or self.help
        return f"option {name} does not exist, but those of `{self.prog}` were expected; {remedy}"

    def unreadable(self, name: str, metavar: str, message: str) -> str:
        kinds = {"int()": "a whole number", "to float": "a number"}
        expected = next((kind for sign, kind in kinds.items() if sign in message), metavar)
        given = self.value(name)
        found = "has a value that cannot be read" if given is None else f"is {given!r}"
        return f"{name} {found}, but {expected} was expected; {self.help}"

    def value(self, option: str) -> str | None:
        """Return what was given to an option last."""
        for place, arg in reversed([*enumerate(self.args)]):
            if arg.startswith(f"{option}="):
                return arg.partition("=")[2]
            if arg == option and place + 1 < len(self.args):
                return self.args[place + 1]
        return None


def _subcommands(command: object) -> Iterator[tuple[str, type]]:
    for member in get_args(command):
        for note in getattr(member, "__metadata__", ()):
            if isinstance(getattr(note, "name", None), str):
                yield note.name, get_args(member)[0]


def _options(record: type) -> Iterator[str]:
    for name, hint in get_type_hints(record, include_extras=True).items():
        inner = get_args(hint)[0] if get_args(hint) else hint
        if dataclasses.is_dataclass(inner):
            yield from _options(inner if isinstance(inner, type) else type(inner))
            continue
        notes = getattr(hint, "__metadata__", ())
        if any(note is tyro.conf.Positional for note in notes):
            continue
        names = [getattr(note, "name", None) for note in notes]
        yield "--" + next((text for text in names if isinstance(text, str)), name).replace("_", "-")


def _name(argument: Any) -> str:  # noqa: ANN401 - tyro's own record
    positional = argument.is_positional()
    return str(argument.lowered.metavar if positional else argument.lowered.name_or_flags[0])


def _did_you_mean(given: str, known: Sequence[str] | dict[str, type]) -> str | None:
    nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f"did you mean {nearest[0]}?" if nearest else None


def _exit(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)  # noqa: T201 - as every `__main__` does
    raise SystemExit(2)
