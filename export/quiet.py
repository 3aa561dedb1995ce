"""Silence torch's exporters: they warn of, log and print their own internals; what they wrote is checked instead."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings, log records below errors, and prints from the terminal."""
    disabled, handlers = logging.root.manager.disable, list(logging.root.handlers)
    chatter = io.StringIO()
    try:
        logging.disable(logging.WARNING)
        with warnings.catch_warnings(), redirect_stdout(chatter), redirect_stderr(chatter):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers  # logging.warning adds one where there is none
