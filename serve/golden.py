"""The golden inputs with their reference outputs, and the check that a runner on this machine reproduces them."""

import io
import math
import tokenize
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.bundle import BundleError, Manifest, Precision
from serve.drift import Drift, judge_drift
from serve.output_parity import output_parity
from serve.parity import NumericParity
from serve.runner import Runner
from serve.signature import describe_shape

KINDS = ("held-out", "random", "zeros", "full")
_DTYPES = {("float64", "float32"), ("int64", "int64")}  # of reference and eager
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Golden:
    """Inputs with what the eager module made of them.

    Attributes:
        inputs: Arrays by input name, ``(rows, …)``, as the graph takes them.
        reference: Float64 outputs of the eager module by output name, ``(rows, …)``; int64 where it gives integers.
        eager: Its float32 outputs, or int64, same names and shapes.
        class_index: True class of each row, -1 where there is none, ``(rows,)``, int64.
        kind: Where each row comes from, one of `KINDS`, ``(rows,)``.
    """

    inputs: dict[str, NDArray[Any]]
    reference: dict[str, NDArray[np.float64]]
    eager: dict[str, NDArray[np.float32]]
    class_index: NDArray[np.int64]
    kind: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not self.inputs or not self.reference or self.reference.keys() != self.eager.keys():
            raise ValueError("golden inputs need at least one input and the same outputs in reference and eager")
        arrays = {**self.inputs, **self.reference, "kind": self.kind}
        for name, values in arrays.items():
            if values.ndim == 0 or len(values) != len(self.class_index) or len(values) == 0:
                raise ValueError(
                    f"golden {name} has shape {list(values.shape)}, but {len(self.class_index)} rows, at least 1, "
                    "were expected"
                )
        for name, values in self.reference.items():
            if (str(values.dtype), str(self.eager[name].dtype)) not in _DTYPES:
                raise ValueError(
                    f"golden output {name} is {values.dtype} and {self.eager[name].dtype}, but float64 and float32 "
                    "were expected, or integers"
                )
            if values.shape != self.eager[name].shape:
                raise ValueError(f"golden output {name} differs in shape between reference and eager")
        unknown = sorted(set(self.kind.tolist()) - set(KINDS))
        if unknown:
            raise ValueError(f"golden kind is {unknown[0]!r}, but one of {', '.join(KINDS)} was expected")

    @property
    def rows(self) -> int:
        """How many golden inputs there are."""
        return len(self.class_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """One output at one batch size, judged: by the numbers, or by its drift where precision is reduced."""

    output: str
    batch_size: int
    parity: NumericParity | Drift

    @property
    def sentence(self) -> str:
        """What was found, for a person."""
        subject = f"output {self.output} at batch size {self.batch_size}"
        if self.parity.fault is not None:
            return f"{subject}: {self.parity.fault}"
        if isinstance(self.parity, Drift):
            return f"{subject} has {self.parity.sentence}"
        return f"{subject}: {self.parity.sentence}"


def encode_golden(golden: Golden) -> bytes:
    """Return the bytes of `golden.npz`; the same arrays always give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {
        **{f"input.{name}": values for name, values in golden.inputs.items()},
        **{f"reference.{name}": values for name, values in golden.reference.items()},
        **{f"eager.{name}": values for name, values in golden.eager.items()},
        "class_index": golden.class_index,
        "kind": golden.kind,
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue())
    return stream.getvalue()


def read_golden(content: bytes) -> Golden:
    """Read the bytes of `golden.npz`.

    Raises:
        BundleError: they are no such archive, or its arrays do not fit together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in archive.filelist}
        return Golden(
            inputs=_named(arrays, "input."),
            reference=_named(arrays, "reference."),
            eager=_named(arrays, "eager."),
            class_index=arrays["class_index"].astype(np.int64, casting="safe"),
            kind=arrays["kind"].astype(np.str_, casting="safe"),
        )
    except KeyError as error:
        raise BundleError(f"golden.npz has no array {error}; export the bundle again") from error
    except (ValueError, TypeError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, tokenize.TokenError) as error:
        raise BundleError(f"golden.npz cannot be read ({error}); export the bundle again") from error


def check_fits(golden: Golden, manifest: Manifest) -> None:
    """Check that golden arrays have the names, dtypes and shapes that the manifest lists.

    Raises:
        BundleError: they do not.
    """
    for part, arrays, specs in (
        ("input", golden.inputs, manifest.inputs),
        ("output", golden.eager, manifest.outputs),
    ):
        expected = {spec.name: spec for spec in specs}
        if arrays.keys() != expected.keys():
            raise BundleError(
                f"golden.npz has {part}s {', '.join(arrays)}, but manifest.json lists {', '.join(expected)}; "
                "export the bundle again"
            )
        for name, values in arrays.items():
            spec = expected[name]
            fits = values.ndim == len(spec.shape) and all(
                isinstance(want, str) or have == want for have, want in zip(values.shape, spec.shape, strict=True)
            )
            if values.dtype != spec.dtype or not fits:
                raise BundleError(
                    f"golden.npz has {part} {name} as {values.dtype} {list(values.shape)}, but manifest.json says "
                    f"{spec.dtype} {describe_shape(spec)}; export the bundle again"
                )


def check_golden(
    runner: Runner,
    golden: Golden,
    *,
    batch_sizes: Sequence[int],
    precision: Precision = "float32",
    decisive: bool = False,
    slack: Mapping[str, float] | None = None,
) -> tuple[GoldenCheck, ...]:
    """Run the golden inputs and judge every output by the rule of `serve.parity`, or `serve.drift`.

    Args:
        runner: What will serve.
        golden: Inputs and references.
        batch_sizes: Rows of each run; the golden rows are repeated until they fill the last one.
        precision: What the graph computes in; a reduced one cannot be numerically equal, and must decide alike.
        decisive: Whether the model classifies.
        slack: How many times as wide as the rule's the bounds of some outputs are, because the certificate found that
            the graph is right and only its runtime coarse.

    Returns:
        One check per batch size and output.
    """
    checks = []
    for size in batch_sizes:
        rows = np.resize(np.arange(golden.rows), -(-golden.rows // size) * size)
        chunks = [
            runner.run({name: values[index] for name, values in golden.inputs.items()})
            for index in rows.reshape(-1, size)
        ]
        outputs = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in golden.reference}
        eager = {name: values[rows] for name, values in golden.eager.items()}
        truth = {name: values[rows] for name, values in golden.reference.items()}
        for name in golden.reference:
            parity = (
                output_parity(name, outputs, eager=eager, reference=truth).widened((slack or {}).get(name, 1.0))
                if precision == "float32"
                else judge_drift(
                    name,
                    outputs[name],
                    eager=eager[name],
                    reference=truth[name],
                    held_out=golden.kind[rows] == "held-out",
                    decisive=decisive,
                    precision=precision,
                )
            )
            checks.append(GoldenCheck(output=name, batch_size=size, parity=parity))
    return tuple(checks)


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, after its header has been found to promise no more than the member holds.

    Raises:
        ValueError: the member is packed, or its header promises another size.
    """
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise ValueError(f"{member.filename} is packed, but arrays are stored as they are")
    stream = io.BytesIO(archive.read(member))
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"{member.filename} has format {version}, but (1, 0) or (2, 0) was expected")
    shape, _, dtype = read_header[version](stream)
    expected, found = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if not dtype.itemsize:
        raise ValueError(f"{member.filename} has values of no size")
    if not dtype.hasobject and expected != found:
        raise ValueError(f"{member.filename} has {found:,} bytes of {dtype} {list(shape)}, which takes {expected:,}")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
