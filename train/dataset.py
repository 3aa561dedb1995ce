"""What a data set is: two splits and a digest; and what can be wrong with one."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class DataError(ValueError):
    """Data that is missing, damaged or of another kind than the recipe asks for."""


class MissingDataError(DataError):
    """Data that is not there, and was not to be downloaded or could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Inputs and what is to be learnt from them.

    Attributes:
        inputs: Images ``(rows, height, width, channels)`` uint8, or a table ``(rows, features)`` float32.
        targets: Class indices ``(rows,)`` int64, or values ``(rows, targets)`` float32.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]

    def __post_init__(self) -> None:
        if (self.inputs.ndim, self.inputs.dtype.name) not in {(4, "uint8"), (2, "float32")}:
            raise DataError(
                f"inputs are {self.inputs.dtype} {list(self.inputs.shape)}, but uint8 [rows, height, width, channels] "
                "or float32 [rows, features] was expected"
            )
        if (self.targets.ndim, self.targets.dtype.name) not in {(1, "int64"), (2, "float32")}:
            raise DataError(
                f"targets are {self.targets.dtype} {list(self.targets.shape)}, but int64 [rows] or float32 "
                "[rows, targets] was expected"
            )
        if len(self.targets) != len(self.inputs):
            raise DataError(f"there are {len(self.inputs)} inputs, but {len(self.targets)} targets; give one each")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A training and a test split; `sha256` is over the bytes of both as they were read, before any preparation."""

    name: str
    train: Split
    test: Split
    sha256: str


def make_dataset(name: str, train: Split, test: Split) -> Dataset:
    """Put two splits together, with the digest over their bytes."""
    digest = hashlib.sha256()
    for array in (train.inputs, train.targets, test.inputs, test.targets):
        digest.update(np.ascontiguousarray(array).data)
    return Dataset(name=name, train=train, test=test, sha256=digest.hexdigest())
