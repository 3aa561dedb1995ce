"""Networks of one's own: the callable that builds one, named by the user on his own command line."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from export.errors import ExportError

Args = dict[str, int | float | str | bool]
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factory:
    """A callable that builds a network.

    Attributes:
        name: ``package.module:callable``, or ``file.py:callable`` with the bare file name: what a bundle records.
        build: The callable, or class.
        sha256: Digest of the source file it stands in; None where there is none to be found.
    """

    name: str
    build: Callable[..., object]
    sha256: str | None


def load_factory(text: str) -> Factory:
    """Import a factory. This runs the code it names, so the name must be the user's own, never one out of a file.

    Args:
        text: ``package.module:callable``, found from the working directory too, or ``path/to/file.py:callable``.

    Raises:
        ExportError: there is no such module, file or callable, or it cannot be imported.
    """
    place, _, attribute = text.rpartition(":")
    if not place or not attribute.isidentifier():
        raise ExportError(
            f"--factory is {text!r}, but package.module:callable or path/to/file.py:callable was expected"
        )
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except ExportError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported
        raise ExportError(
            f"--factory {text} cannot be imported ({type(error).__name__}: {error}); mend the module, or start from "
            "the folder that its own imports are found from"
        ) from error
    build = getattr(module, attribute, None)
    if build is None:
        names = [name for name, value in vars(module).items() if _is_own(value, module)]
        found = ", ".join(names[:_SHOWN_NAMES]) or "none"
        raise ExportError(f"--factory is {text}, but {place} has no {attribute}; its own callables are: {found}")
    if not callable(build):
        raise ExportError(
            f"--factory {text} is a {type(build).__name__}, but a class or a function that builds a torch.nn.Module "
            "was expected"
        )
    name = f"{Path(place).name}:{attribute}" if place.endswith(".py") else text
    return Factory(name=name, build=build, sha256=_digest(build, module))


def build_module(factory: Factory, args: Args) -> nn.Module:
    """Call a factory.

    Raises:
        ExportError: it does not take the arguments, raises, or builds something that is no module.
    """
    try:
        signature = inspect.signature(factory.build)
    except ValueError:  # of a few builtins
        signature = None
    if signature is not None:
        try:
            signature.bind(**args)
        except TypeError as error:
            raise ExportError(
                f"--factory-args are {_shown(args)}, but {factory.name} takes {signature} ({error}); give what it takes"
            ) from error
    try:
        network = factory.build(**args)
    except Exception as error:  # whatever the user's code raises
        raise ExportError(
            f"{factory.name} cannot be called with {_shown(args)} ({type(error).__name__}: {error}); see --factory-args"
        ) from error
    if not isinstance(network, nn.Module):
        raise ExportError(
            f"{factory.name} built a {type(network).__name__}, but a torch.nn.Module was expected; "
            "name a class or a function that returns one"
        )
    return network


def parse_args(texts: Sequence[str]) -> Args:
    """Read ``name=value`` pairs; a value is an int, a float, True, False, or else text.

    Raises:
        ExportError: a pair has no name, is given twice, or holds what a bundle cannot record.
    """
    args: Args = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ExportError(f"--factory-args has {text!r}, but name=value was expected, such as classes=10")
        if name in args:
            raise ExportError(f"--factory-args gives {name} twice, but each argument may stand once; leave one out")
        args[name] = _literal(name, value)
    return args


def _literal(name: str, text: str) -> int | float | str | bool:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ExportError(
        f"--factory-args {name} is {text}, a {type(value).__name__}, but an int, a float, a bool or text was expected; "
        "write a small function that builds the network and name it as the --factory"
    )


def _import_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise ExportError(
            f"--factory names module {name}, but there is no {error.name} here or among the installed packages; "
            "start from its folder, or give path/to/file.py:callable"
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ExportError(f"--factory names file {path}, but it does not exist; give path/to/file.py:callable")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise ExportError(f"--factory names file {path}, but Python cannot import it; rename it to a .py file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # what the file imports from beside it, as `python file.py` would
    known = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    finally:
        if known is not None:  # a file of one's own that is called like a package must not take its place
            sys.modules[path.stem] = known
    return module


def _is_own(value: object, module: ModuleType) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def _digest(build: Any, module: ModuleType) -> str | None:  # noqa: ANN401 - any callable
    """Return the digest of the file that the callable stands in, which need not be the one it was imported from."""
    file = module.__file__
    try:
        inner = inspect.unwrap(build)
        if inner.__module__ != module.__name__:  # inspect finds a class's file by that name, which another may have
            file = inspect.getsourcefile(inner) or file
    except (AttributeError, TypeError, ValueError):
        pass
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else None


def _shown(args: Args) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in args.items()) or "none"
