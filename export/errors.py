"""The one exception of this package."""


class ExportError(ValueError):
    """A model that cannot be exported as asked."""
