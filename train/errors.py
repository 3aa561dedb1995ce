"""Errors that commands catch before torch is imported."""


class RunError(ValueError):
    """A run directory that is missing, unfinished or malformed."""


class TrainingError(ValueError):
    """Training that cannot go on."""
