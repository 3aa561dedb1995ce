"""What a message of another's quotes of an exception."""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception that says something, or else the name of its class."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an exception that says something, or else the name of its class."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
