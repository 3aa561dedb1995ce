"""The socket a server listens on: taken before anything else is done, so that a port in use is known at once."""

import errno
import os
import socket


class AddressError(ValueError):
    """An address that cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """Take an address; nothing can connect before somebody listens on the socket.

    Raises:
        AddressError: the address is in use, is not this machine's, or is not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:  # the latter where it is no name at all, such as a..b
        raise AddressError(f"host {host} cannot be resolved ({error}); use 127.0.0.1, or 0.0.0.0 for all") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would share the port with whoever has it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"port {port} of {host} is in use by another program; stop that, or use another one with --port"
            ) from error
        raise AddressError(
            f"port {port} of {host} cannot be listened on ({error.strerror}); use another --host or --port"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address for a browser on this machine, ``http://127.0.0.1:8000``."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
