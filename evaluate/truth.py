"""One input set with what the eager module makes of it: what graphs are held against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluate.inputs import InputSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """One input set, with the eager module's outputs in float64 and in float32."""

    inputs: InputSet
    reference: dict[str, NDArray[np.float64]]
    eager: dict[str, NDArray[np.float32]]
