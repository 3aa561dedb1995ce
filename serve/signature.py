"""What a model takes, against what a request gives: names, dtypes and shapes, before any data is looked at."""

from collections.abc import Mapping

from serve.answer import RequestError, TooLargeError
from serve.bundle import Manifest, TensorSpec


def check_inputs(declared: Mapping[str, tuple[str, tuple[int, ...]]], manifest: Manifest, *, max_rows: int) -> int:
    """Check a request's inputs.

    Args:
        declared: Dtype and shape by input name.
        manifest: The model's.
        max_rows: Most rows of one request.

    Returns:
        Rows of the request, at least 1.

    Raises:
        RequestError: names, a dtype or a shape are not what the model takes.
        TooLargeError: there are more rows than are taken at once.
    """
    model = manifest.name
    if declared.keys() != {spec.name for spec in manifest.inputs}:
        given = ", ".join(declared) or "none"
        raise RequestError(f"inputs are {given}, but model {model} takes {describe_inputs(manifest)}")
    sizes: dict[str, int] = {}
    for spec in manifest.inputs:
        dtype, shape = declared[spec.name]
        if dtype != spec.dtype:
            raise RequestError(f"input {spec.name} has dtype {dtype}, but model {model} takes {spec.dtype}")
        if not _fits(shape, spec, sizes):
            raise RequestError(
                f"input {spec.name} has shape {list(shape)}, but model {model} takes {describe_shape(spec)}, "
                "each dimension at least 1 and named ones equal among inputs"
            )
    if sizes["batch"] > max_rows:
        raise TooLargeError(
            f"the request has {sizes['batch']} rows, but at most {max_rows} are taken at once; split it"
        )
    return sizes["batch"]


def describe_inputs(manifest: Manifest) -> str:
    """Return the inputs for a message: ``image uint8 [batch, 28, 28, 1]``."""
    return ", ".join(f"{spec.name} {spec.dtype} {describe_shape(spec)}" for spec in manifest.inputs)


def describe_shape(spec: TensorSpec) -> str:
    """Return a shape for a message: ``[batch, 28, 28, 1]``."""
    return "[" + ", ".join(map(str, spec.shape)) + "]"


def _fits(shape: tuple[int, ...], spec: TensorSpec, sizes: dict[str, int]) -> bool:
    """Match a shape with a spec; `sizes` remembers what named dimensions were."""
    if len(shape) != len(spec.shape):
        return False
    return all(
        have >= 1 and have == (sizes.setdefault(want, have) if isinstance(want, str) else want)
        for have, want in zip(shape, spec.shape, strict=True)
    )
