"""Golden inputs: written the same each time, read without pickles, and a check that can fail."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.bundle import BundleError
from serve.classifier import Classifier
from serve.golden import Golden, check_fits, check_golden, encode_golden, read_golden

INPUT = np.arange(6, dtype=np.float32).reshape(3, 2)


def make(**changes: Any) -> Golden:
    return Golden(
        **{
            "inputs": {"x": INPUT},
            "reference": {"y": INPUT.astype(np.float64) * 2},
            "eager": {"y": INPUT * 2},
            "class_index": np.array([0, 1, -1]),
            "kind": np.array(["held-out", "random", "full"]),
        }
        | changes
    )


class Doubling:
    """What the golden arrays above are of, give or take `error`; notes the rows of each run."""

    def __init__(self, error: float = 0) -> None:
        self.error = error
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.sizes.append(len(inputs["x"]))
        return {"y": (inputs["x"] * 2 + self.error).astype(np.float32)}


def test_reading_gives_back_what_was_written() -> None:
    golden = read_golden(encode_golden(make()))
    assert golden.rows == 3
    np.testing.assert_array_equal(golden.inputs["x"], INPUT)
    np.testing.assert_array_equal(golden.reference["y"], INPUT.astype(np.float64) * 2)
    np.testing.assert_array_equal(golden.eager["y"], INPUT * 2)
    assert golden.eager["y"].dtype == np.float32
    assert golden.class_index.tolist() == [0, 1, -1]
    assert golden.kind.tolist() == ["held-out", "random", "full"]


def test_the_same_arrays_give_the_same_bytes() -> None:
    assert encode_golden(make()) == encode_golden(make())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {}}, "golden inputs need at least one input and the same outputs in reference and eager"),
        ({"eager": {"z": INPUT}}, "golden inputs need at least one input and the same outputs"),
        ({"class_index": np.array([0, 1])}, r"golden x has shape \[3, 2\], but 2 rows, at least 1, were expected"),
        ({"kind": np.array("random")}, r"golden kind has shape \[\], but 3 rows"),
        (
            {"eager": {"y": INPUT.astype(np.float64)}},
            "golden output y is float64 and float64, but float64 and float32 were",
        ),
        ({"reference": {"y": INPUT}}, "golden output y is float32 and float32, but float64 and float32 were expected"),
        ({"eager": {"y": INPUT[:, :1]}}, "golden output y differs in shape between reference and eager"),
        (
            {"kind": np.array(["held-out", "random", "guess"])},
            "golden kind is 'guess', but one of held-out, random, zeros",
        ),
    ],
)
def test_arrays_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def member(content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("class_index.npy", content)
    return stream.getvalue()


def header(text: str, version: int = 1) -> bytes:
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


def array_of(shape: str, dtype: str = "<i8") -> bytes:
    return header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n")


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", r"golden\.npz cannot be read \(.*\); export the bundle again", id="empty"),
        pytest.param(b"text", r"golden\.npz cannot be read \(", id="text"),
        pytest.param(encode_golden(make())[:-30], r"golden\.npz cannot be read \(", id="cut"),
        pytest.param(npz(x=INPUT), r"golden\.npz has no array 'class_index'; export the bundle again", id="missing"),
        pytest.param(
            npz(class_index=np.array([{}], dtype=object)),
            r"golden\.npz cannot be read \(Object arrays cannot",
            id="pickle",
        ),
        pytest.param(
            member(array_of("(10000000000000,)")),
            r"\(class_index\.npy has 0 bytes of int64 \[10000000000000\], which takes 80,000,000,000,000\)",
            id="huge",
        ),
        pytest.param(member(array_of("(2,)") + bytes(15)), r"has 15 bytes of int64 \[2\], which takes 16", id="short"),
        pytest.param(member(array_of("(2,)") + bytes(17)), r"has 17 bytes of int64 \[2\], which takes 16", id="long"),
        pytest.param(member(array_of("(10000000000000,)", "<U0")), r"class_index\.npy has values of no", id="no-size"),
        pytest.param(member(array_of("(-2,)")), "has 0 bytes of int64", id="negative"),
        pytest.param(member(array_of("(10**5000,)")), r"golden\.npz cannot be read \(", id="power"),
        pytest.param(member(array_of("(9,", "<i8")), r"golden\.npz cannot be read \(", id="open-bracket"),
        pytest.param(member(array_of("(9)" * 200, "<i8")), r"golden\.npz cannot be read \(", id="calls"),
        pytest.param(member(array_of("(" * 5000 + ")" * 5000)), r"golden\.npz cannot be read \(", id="nested"),
        pytest.param(member(header("{}", 3)), r"has format \(3, 0\), but \(1, 0\) or \(2, 0\) was", id="format"),
        pytest.param(member(header("{}", 2)), r"golden\.npz cannot be read \(", id="no-fields"),
        pytest.param(
            member(bytes(5_000_000), zipfile.ZIP_DEFLATED),
            r"\(class_index\.npy is packed, but arrays are stored as they are\); export the bundle again",
            id="packed",
        ),
        pytest.param(
            npz(class_index=np.zeros(3), kind=np.array(["full"] * 3)), r"cannot be read \(.*cast", id="float-index"
        ),
    ],
)
def test_what_is_no_golden_file(content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_golden(content)


def test_a_single_array_is_no_golden_file() -> None:
    stream = io.BytesIO()
    np.save(stream, INPUT)
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read \("):
        read_golden(stream.getvalue())


def test_no_member_is_compressed_or_dated() -> None:
    with zipfile.ZipFile(io.BytesIO(encode_golden(make()))) as archive:
        assert {(member.date_time, member.compress_type) for member in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0)
        }


def test_the_check_runs_every_row_at_every_batch_size() -> None:
    runner = Doubling()
    checks = check_golden(runner, make(), batch_sizes=[1, 2, 8])
    assert runner.sizes == [1, 1, 1, 2, 2, 8]
    assert [(check.output, check.batch_size, check.parity.passed) for check in checks] == [
        ("y", 1, True),
        ("y", 2, True),
        ("y", 8, True),
    ]
    assert checks[0].sentence.startswith("output y at batch size 1: error is rmse 0 and max 0, but ")


def test_the_check_can_fail() -> None:
    (check,) = check_golden(Doubling(error=1e-3), make(), batch_sizes=[2])
    assert not check.parity.passed
    (check,) = check_golden(Doubling(error=np.nan), make(), batch_sizes=[2])
    assert check.sentence == "output y at batch size 2: candidate has 8 values that are NaN or infinite"


def test_bounds_are_wider_where_only_the_runtime_is_coarse() -> None:
    (close,) = check_golden(Doubling(error=1e-5), make(), batch_sizes=[2])
    assert not close.parity.passed
    (wide,) = check_golden(Doubling(error=1e-5), make(), batch_sizes=[2], slack={"y": 2 * close.parity.ratio})
    assert wide.parity.passed
    assert wide.parity.ratio == pytest.approx(0.5)


def test_golden_arrays_must_be_the_models(tiny: Classifier) -> None:
    check_fits(tiny.golden(), tiny.manifest)
    with pytest.raises(
        BundleError, match=r"golden\.npz has inputs x, but manifest\.json lists image; export the bundle again"
    ):
        check_fits(make(), tiny.manifest)
    golden = tiny.golden()
    wide = Golden(
        inputs={"image": golden.inputs["image"].astype(np.int64)},
        reference=golden.reference,
        eager=golden.eager,
        class_index=golden.class_index,
        kind=golden.kind,
    )
    with pytest.raises(
        BundleError, match=r"has input image as int64 \[12, 8, 8, 1\], but manifest\.json says uint8 \[batch, 8"
    ):
        check_fits(wide, tiny.manifest)
