"""What a message of another's quotes of an exception."""

_REASON = "WeightsUnpickler error:"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception that says something, or else the name of its class."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an exception that says something, or else the name of its class."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    text = str(error)
    if text.startswith("Weights only load failed"):  # torch's advice, to read files that may run code, is not ours
        text = text.partition(_REASON)[2].partition("Check the documentation")[0] or "it is no pickle of tensors alone"
    return [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
