"""Tables to a model's features, and table files predicted into table files."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from serve import table_file, table_job
from serve.answer import ModelFaultError
from serve.batch import main
from serve.bundle import CertificateHead, Feature, encode_sealed, read_bundle
from serve.classifier import Classifier
from serve.onnx_runner import OnnxRunner
from serve.table import TableError, check_columns, decode_row, encode_columns, encode_rows
from tests.serve.tiny_bundle import HOUSE, LABELS, write_house_bundle, write_tiny_bundle

ROOMS, ALLEY, AREA = HOUSE
LEVEL = Feature(name="level", categories=("1", "2", "NA"))


@pytest.fixture(scope="module")
def house_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a regression bundle of `HOUSE` tables; not to be changed."""
    return write_house_bundle(tmp_path_factory.mktemp("house") / "house")


def run(bundle: Path, source: Path, out: Path, *more: str) -> int:
    return main([str(bundle), str(source), "--out", str(out), "--provider", "cpu", *more])


def expected(bundle: Path, features: list[list[float]]) -> dict[str, NDArray[Any]]:
    with Classifier.open(bundle, provider="cpu", threads=1) as classifier:
        return classifier.submit({"features": np.array(features, dtype=np.float32)}).result(20).outputs


@pytest.mark.parametrize(
    ("cell", "feature", "value"),
    [
        (3, AREA, 3.0),
        (" -2.5e1 ", AREA, -25.0),
        (np.float32(0.5), AREA, 0.5),
        (3.4e38, AREA, float(np.float32(3.4e38))),
        (None, ROOMS, math.nan),
        ("", ROOMS, math.nan),
        ("NA", ROOMS, math.nan),
        (math.nan, ROOMS, math.nan),
        ("Gravel", ALLEY, 0.0),
        (" Pave", ALLEY, 1.0),
        ("null", ALLEY, math.nan),
        (None, ALLEY, math.nan),
        (2, LEVEL, 1.0),
        (2.0, LEVEL, 1.0),
        ("NA", LEVEL, 2.0),
        (True, Feature(name="garden", categories=("false", "true")), 1.0),
    ],
)
def test_a_cell_becomes_its_number(cell: object, feature: Feature, value: float) -> None:
    values, errors = encode_columns({feature.name: [cell]}, [feature])
    assert errors == [None]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[np.float32(value)]])


@pytest.mark.parametrize(
    ("cell", "feature", "message"),
    [
        ("wide", AREA, "has 'wide', but a number was expected"),
        ("1_0", AREA, "has '1_0', but a number was expected"),
        ("\uff13", AREA, "has '\uff13', but a number was expected"),
        (True, AREA, "has True, but a number was expected"),
        ([1], AREA, r"has \[1\], but a number was expected"),
        ({"x": "y" * 99}, AREA, "has {'x': 'y{52}…, but a number was expected"),
        (None, AREA, "is empty, but a number was expected"),
        ("NaN", AREA, "is empty, but a number was expected"),
        (math.inf, AREA, r"has inf, but a number within 3\.4e\+38 of 0 was expected"),
        ("-inf", ROOMS, "has '-inf', but a number within"),
        (1e39, AREA, r"has 1e\+39, but a number within"),
        (10**400, AREA, "has 1000.*…, but a number within"),
        ("pave", ALLEY, "has 'pave', but one of Gravel, Pave was expected"),
        (1.5, LEVEL, "has 1.5, but one of 1, 2, NA was expected"),
        (None, LEVEL, "is empty, but one of 1, 2, NA was expected"),
        (
            "x",
            Feature(name="many", categories=tuple("abcdefghijklm")),
            "has 'x', but one of a, b, c, .*, l, … was expected",
        ),
    ],
)
def test_any_other_cell_is_named_with_row_and_column(cell: object, feature: Feature, message: str) -> None:
    with pytest.raises(TableError, match=f"^row 1, column '{feature.name}' {message}"):
        encode_rows([{feature.name: cell}], [feature])


def test_a_bad_row_leaves_the_others_alone() -> None:
    columns = {"rooms": ["1", "x", "3"], "alley": ["Pave", "Mud", "Pave"], "area": ["1", "2", ""], "more": "abc"}
    values, errors = encode_columns(columns, HOUSE, first_row=11)
    np.testing.assert_array_equal(values[0], [1, 1, 1])
    assert errors == [
        None,
        "row 12, column 'rooms' has 'x', but a number was expected",
        "row 13, column 'area' is empty, but a number was expected",
    ]


def test_rows_may_leave_out_what_is_optional_and_nothing_else() -> None:
    np.testing.assert_array_equal(encode_rows([{"area": 2}], HOUSE), [[np.nan, np.nan, 2]])
    with pytest.raises(TableError, match="row 2 has no column 'area', but the model needs it; add it"):
        encode_rows([{"area": 2}, {"rooms": 2}], HOUSE)
    with pytest.raises(
        TableError, match="row 1 has a column 'Rooms', but the model takes rooms, alley, area; leave it"
    ):
        encode_rows([{"area": 2, "Rooms": 2}], HOUSE)
    with pytest.raises(TableError, match="the table has no rows, but at least 1 was expected"):
        encode_rows([], HOUSE)


def test_columns_are_checked_before_any_row() -> None:
    check_columns(["area", "x", "alley", "rooms"], HOUSE)
    with pytest.raises(TableError, match="the table has no column 'alley', but rooms, area; the model takes rooms, a"):
        check_columns(["rooms", "area"], HOUSE)
    with pytest.raises(TableError, match="the table has no column 'rooms', but none; the model takes"):
        check_columns([], HOUSE)
    with pytest.raises(TableError, match="the table has two columns 'x', but each name may stand once; rename one"):
        check_columns(["rooms", "alley", "area", "x", "x"], HOUSE)


def test_a_row_reads_back() -> None:
    row: dict[str, float | str | None] = {"rooms": None, "alley": "Pave", "area": 2.5}
    assert decode_row(encode_rows([row], HOUSE)[0], HOUSE) == row
    assert decode_row(np.array([1, 7, 2], dtype=np.float32), HOUSE) == {"rooms": 1.0, "alley": None, "area": 2.0}


TEXT = 'rooms,alley,area,price,note\nNA,Pave,1.50,127500,"a, b"\n2,NA,2,106000,"two\nlines"\n4,Mud,1,1,\n3,,-1,2,ü\n'
FEATURES = [[math.nan, 1, 1.5], [2, math.nan, 2], [3, math.nan, -1]]
MUD = "row 3, column 'alley' has 'Mud', but one of Gravel, Pave was expected"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_csv_file_keeps_its_columns_and_gets_predictions(
    house_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    (tmp_path / "in.csv").write_text(TEXT, encoding="utf-8-sig")
    out = tmp_path / f"out.{suffix}"
    assert run(house_path, tmp_path / "in.csv", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["errors"], report["labels"]) == (4, 1, {})
    if suffix == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        rows = pyarrow.parquet.read_table(out).to_pylist()
    assert list(rows[0]) == ["rooms", "alley", "area", "price", "note", "predicted_price", "error"]
    assert [row["area"] for row in rows] == ["1.50", "2", "1", "-1"]
    assert [row["note"] for row in rows] == ["a, b", "two\nlines", "", "ü"]
    assert [row["error"] or None for row in rows] == [None, None, MUD, None]
    assert not rows[2]["predicted_price"]
    found = [float(row["predicted_price"]) for row in rows if row["predicted_price"]]
    np.testing.assert_array_equal(np.float32(found), expected(house_path, FEATURES)["prediction"][:, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.csv", out.name])


def test_a_parquet_file_keeps_its_types_and_gets_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_house_bundle(tmp_path / "b", task="classification")
    table = pa.table(
        {
            "area": pa.array([1.5, 2, -1, None]),
            "alley": pa.array(["Pave", None, "Gravel", "Pave"]).dictionary_encode(),
            "rooms": pa.array([None, 2, 3, 4], pa.int8()),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    assert run(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet") == 0
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    probabilities = [f"probability_{label}" for label in LABELS]
    assert found.column_names == ["area", "alley", "rooms", "label", "probability", *probabilities, "error"]
    assert found.schema.field("rooms").type == pa.int8()
    assert found.schema.metadata[b"facsimile.bundle_sha256"].decode() == read_bundle(bundle).manifest.sha256
    outputs = expected(bundle, [[math.nan, 1, 1.5], [2, math.nan, 2], [3, 0, -1]])["probabilities"]
    labels = [LABELS[index] for index in outputs.argmax(axis=1)]
    assert found["label"].to_pylist() == [*labels, None]
    np.testing.assert_array_equal(np.stack([found[name].to_numpy()[:3] for name in probabilities], axis=1), outputs)
    assert found["error"].to_pylist()[-1] == "row 4, column 'area' is empty, but a number was expected"
    printed = capsys.readouterr().out
    assert "4 rows, 1 of them not predicted" in printed
    for label in LABELS:
        assert f"  {label:<6}  {labels.count(label)}\n" in printed


def test_the_output_may_replace_the_input(house_path: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("rooms,alley,area\n1,Pave,2\n")
    assert run(house_path, tmp_path / "t.csv", tmp_path / "t.csv") == 0
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    price = float(expected(house_path, [[1, 1, 2]])["prediction"][0, 0])
    assert {**row, "price": np.float32(row["price"])} == {
        "rooms": "1",
        "alley": "Pave",
        "area": "2",
        "price": np.float32(price),
        "error": "",
    }


def test_a_heading_alone_gives_a_heading(house_path: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("rooms,alley,area\n")
    assert run(house_path, tmp_path / "in.csv", tmp_path / "out.parquet") == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 0


def test_many_rows_go_in_pieces_in_order(
    house_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table_file, "PIECE_ROWS", 10)
    monkeypatch.setattr(table_job, "SAY_EVERY_S", 0.0)
    values = np.arange(101, dtype=np.float64)
    table = pa.table({"rooms": values, "alley": [None if row != 55 else "Mud" for row in range(101)], "area": -values})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    assert run(house_path, tmp_path / "in.parquet", tmp_path / "out.parquet", "--batch-size", "4") == 0
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert found["rooms"].to_pylist() == values.tolist()
    rows = [[row, math.nan, -row] for row in values]
    prices = found["price"].to_numpy()
    assert np.flatnonzero(np.isnan(prices)).tolist() == [55]
    np.testing.assert_allclose(
        np.delete(prices, 55), np.delete(expected(house_path, rows)["prediction"][:, 0], 55), rtol=1e-5
    )
    assert found["error"].to_pylist()[55] == "row 56, column 'alley' has 'Mud', but one of Gravel, Pave was expected"
    assert "predicting: 10 rows, 0 errors" in capsys.readouterr().err


def test_a_row_that_breaks_the_graph_fails_alone(
    house_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = OnnxRunner.run

    def breaking(self: OnnxRunner, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if (inputs["features"][:, 2] == 13).any():
            raise ModelFaultError("13 is too much")
        return original(self, inputs)

    monkeypatch.setattr(OnnxRunner, "run", breaking)
    (tmp_path / "in.csv").write_text("rooms,alley,area\n1,Pave,12\n1,Pave,13\n1,Pave,14\n")
    assert run(house_path, tmp_path / "in.csv", tmp_path / "out.parquet") == 0
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert [price is None for price in found["price"].to_pylist()] == [False, True, False]
    assert "13 is too much" in found["error"].to_pylist()[1]


@pytest.mark.parametrize(
    ("name", "content", "out", "message"),
    [
        (
            "absent.csv",
            None,
            "o.csv",
            "absent.csv does not exist, but a .csv or .parquet file was expected, for a model",
        ),
        ("in.txt", b"x", "o.csv", "in.txt ends in .txt, but a model of tables takes .csv or .parquet"),
        (
            "in.csv",
            b"",
            "o.csv",
            "in.csv cannot be read (Empty CSV file), but CSV in UTF-8 with a heading was expected",
        ),
        ("in.csv", b"rooms,alley,area\n1,2\n", "o.csv", "in.csv cannot be read (CSV parse error: Expected 3 columns"),
        ("in.csv", b"rooms,alley,area\n1,\xff,2\n", "o.csv", "in.csv cannot be read ("),
        ("in.parquet", b"PAR1", "o.csv", "), but Parquet was expected"),
        (
            "in.csv",
            b"rooms,area\n1,2\n",
            "o.csv",
            "in.csv: the table has no column 'alley', but rooms, area; the model",
        ),
        ("in.csv", b"x,x\n1,2\n", "o.csv", "in.csv: the table has two columns 'x', but each name may stand once"),
        (
            "in.csv",
            b"rooms,alley,area,error,predicted_error\n1,,2,,\n",
            "o.csv",
            "the table has a column 'predicted_error', but a prediction needs that name; rename the column",
        ),
        (
            "in.csv",
            b"rooms,alley,area\n1,,2\n",
            "o.txt",
            "o.txt, but must end in .parquet or .csv; give it one of them",
        ),
    ],
)
def test_trouble_is_one_sentence_and_nothing_is_written(
    house_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    out: str,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(house_path, tmp_path / name, tmp_path / out) == 2
    error = capsys.readouterr().err
    assert message in error.replace("Row #2: ", "")  # which pyarrow says where it reads with one thread
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ([] if content is None else [name])


def test_a_batch_size_of_0_and_a_failed_certificate_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, source, out = write_house_bundle(tmp_path / "b"), tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("rooms,alley,area\n1,Pave,2\n")
    assert run(bundle, source, out, "--batch-size", "0") == 2
    assert "--batch-size is 0, but must be at least 1" in capsys.readouterr().err
    head = CertificateHead(sha256="0" * 64, bundle_sha256=read_bundle(bundle).manifest.sha256, passed=False)
    (bundle / "certificate.json").write_bytes(encode_sealed(head))
    assert run(bundle, source, out) == 2
    assert "has a certificate that says parity failed" in capsys.readouterr().err
    assert run(bundle, source, out, "--allow-failed") == 0


def test_an_interrupted_table_leaves_what_was_there(
    house_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "in.csv").write_text("rooms,alley,area\n1,Pave,2\n")
    (tmp_path / "out.csv").write_text("before")
    monkeypatch.setattr(table_job, "put", interrupt)
    assert run(house_path, tmp_path / "in.csv", tmp_path / "out.csv") == 130
    assert capsys.readouterr().err == "interrupted: nothing was written; run the same command again\n"
    assert (tmp_path / "out.csv").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_bundle_of_images_takes_no_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes no tables, but images or tensors; give it those"):
        table_job.predict_table(
            write_tiny_bundle(tmp_path / "b"),
            tmp_path / "in.csv",
            tmp_path / "out.csv",
            provider="cpu",
            batch_size=8,
            say=print,
        )
