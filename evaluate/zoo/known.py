"""Why an architecture does not pass, where that is known, with the thread upstream that says so."""

UPSTREAM: dict[str, str] = {}
