"""What can be wrong with a measurement of accuracy; imports nothing, and so can be caught where torch is missing."""


class AccuracyError(ValueError):
    """A measurement of accuracy that makes no sense."""
