"""What can be wrong with a measurement of accuracy; imports nothing, so that it can be caught where torch is missing."""


class AccuracyError(ValueError):
    """A measurement of accuracy that makes no sense."""
