"""What the commands of parity cannot carry out."""


class ParityError(ValueError):
    """A request of parity that cannot be carried out."""
