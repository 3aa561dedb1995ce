"""``python -m serve BUNDLE ...``: serve bundles over HTTP, with a page to try them."""

import logging
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from serve.command_line import told_in_one_sentence

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from serve.classifier import Classifier


class CommandError(ValueError):
    """A command line that cannot be carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve bundles: Open Inference Protocol v2 and images over HTTP, and a page."""

    bundles: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="BUNDLE [BUNDLE ...]", help_behavior_hint="(required)"),
    ]
    """Bundle directories, as `python -m export` makes them."""
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every network this machine is in."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = 8000
    """Port to listen on; 0 takes a free one."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where graphs run; auto takes CUDA where an NVIDIA device is there. A fallback is never silent."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """Which graph of the bundle runs; the reduced ones are there where the export was asked for them."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Threads of one run on the CPU; all that this process may use, if not given."""
    max_batch: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Most rows of one run; 64 if not given, or as many as the certificate proves together where those are fewer."""
    max_queue_rows: Annotated[int, tyro.conf.arg(metavar="N")] = 1024
    """Most rows that wait for one model, and most rows of one request."""
    max_body_mib: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Largest request body, MiB."""
    allow_host: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="(default: none)")
    ] = ()
    """Further names under which a server on the loopback address may be called, such as a local proxy's."""
    page: bool = True
    """Serve the page at /."""
    open: bool = False
    """Open the page in the browser, where this machine has a graphical one."""
    allow_failed: bool = False
    """Serve also a bundle whose certificate says that parity failed."""
    require_signature: Annotated[Path | None, tyro.conf.arg(metavar="KEY")] = None
    """Serve only bundles that the owner of this public key (PEM) signed with `python -m export.sign`."""


def main(args: "Sequence[str] | None" = None) -> int:
    """Run the command line; 0 after a clean stop, 2 on trouble."""
    started = time.perf_counter()
    with told_in_one_sentence(Serve, prog="python -m serve", args=args):
        command = tyro.cli(Serve, prog="python -m serve", args=args)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata in the images that people send
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from serve.bundle import BundleError
    from serve.devices import ProviderError
    from serve.listen import AddressError
    from serve.signing import SigningError

    try:
        return _serve(command, started)
    except (AddressError, BundleError, CommandError, ProviderError, SigningError) as error:
        _say(f"error: {error}")
        return 2


def _serve(command: Serve, started: float) -> int:
    from serve.guard import LOOPBACK_HOSTS
    from serve.http import create_app
    from serve.listen import bind
    from serve.server import Server

    _check(command)
    classifiers: dict[str, Classifier] = {}
    with bind(command.host, command.port) as listener:
        try:
            _open(command, classifiers)
            server = Server(lambda: _announce(command, listener, classifiers, started))
            page = None
            if command.page:
                from serve.page.lazy import LazyPage

                page = LazyPage(classifiers)
            app = create_app(
                classifiers,
                max_body_bytes=command.max_body_mib << 20,
                hosts=LOOPBACK_HOSTS | {*command.allow_host} if command.host in LOOPBACK_HOSTS else None,
                page=page,
                draining=lambda: server.stopping,
            )
            server.on_stopping = app.state.hurry
            server.serve(app, listener)
        finally:
            for classifier in classifiers.values():
                classifier.close()
    _say("stopped, after every accepted request was answered")
    return 0


def _check(command: Serve) -> None:
    if not command.bundles:
        raise CommandError("no bundle is given, but at least one was expected; make one with `python -m export RUN`")
    if not 0 <= command.port <= 65535:
        raise CommandError(f"--port is {command.port}, but must lie in 0 to 65535")
    for name in ("threads", "max_batch", "max_queue_rows", "max_body_mib"):
        value = getattr(command, name)
        if value is not None and value < 1:
            raise CommandError(f"--{name.replace('_', '-')} is {value}, but must be at least 1")


def _open(command: Serve, classifiers: "dict[str, Classifier]") -> None:
    from serve.announce import describe, require_certified
    from serve.classifier import Classifier

    for path in command.bundles:
        classifier = Classifier.open(
            path,
            provider=command.provider,
            precision=command.precision,
            threads=command.threads,
            max_batch=command.max_batch,
            max_queue_rows=command.max_queue_rows,
            public_key=command.require_signature,
        )
        earlier = classifiers.setdefault(classifier.name, classifier)
        if earlier is not classifier:
            classifier.close()
            raise CommandError(
                f"{earlier.bundle.path} and {path} are both named {classifier.name}, but each name is served once; "
                "leave one out, or export one under another name"
            )
        if not command.allow_failed:
            require_certified(classifier.bundle, classifier.precision)
        _say(describe(classifier))


def _announce(command: Serve, listener: "socket.socket", classifiers: "dict[str, Classifier]", started: float) -> None:
    from serve.announce import has_graphical_browser
    from serve.guard import LOOPBACK_HOSTS
    from serve.listen import url_of

    url = url_of(listener)
    if command.page:
        _say(f"page   {url}/")
    for name, classifier in classifiers.items():
        if classifier.manifest.preprocessing is not None and classifier.manifest.task != "tensors":
            _say(f"API    {url}/predict/{name} takes an image file")
        _say(f"API    {url}/v2/models/{name}/infer takes tensors (Open Inference Protocol v2)")
    if command.host not in LOOPBACK_HOSTS:
        _say(f"note   everybody who reaches this machine at {command.host} can use it, without a key")
    unready = [name for name, classifier in classifiers.items() if not classifier.ready]
    state = f"listening, but NOT READY: {', '.join(unready)}" if unready else "ready"
    _say(f"{state} in {time.perf_counter() - started:.2f} s; stop with Ctrl-C")
    if command.open and command.page:
        if not has_graphical_browser():
            _say(f"note   this machine has no graphical browser; open {url}/ yourself")
            return
        import webbrowser

        webbrowser.open(url)


def _stop(*_: object) -> None:
    raise SystemExit(0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
