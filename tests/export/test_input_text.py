"""What users mistype after --input is told in one sentence: subject, found, expected, remedy."""

import sys
from pathlib import Path

import pytest

from export.__main__ import main
from export.errors import ExportError
from export.input_text import parse_input
from export.own_inputs import InputSettings, read_inputs
from tests.export import own_files

FORM = "NAME:DTYPE[dims] was expected, without the batch, such as image:uint8[224,224,3]; "
DTYPES = "one of uint8, int64, float16, float32, float64 was expected; "
WHOLE = "whole numbers above 0 were expected"
BATCH = f"{WHOLE}; only the batch may vary, and it is left out: write every other size as a number"
IMAGE = (
    "an image is [height,width,3], or [height,width,1] where it is grey, without the batch; give "
    "image:uint8[224,224,3], say, or another name than image to a tensor that is handed to forward as it is"
)
BRACKETS = f"{FORM}write the dims within one pair of square brackets"
COLON = f"{FORM}write a colon between the name and the dtype"
COMMA = f"{WHOLE}, with one comma between two of them; take out a comma"
ONCE = f"{FORM}give --input once for each input, each with one colon"
MANY = "at most 100,000,000 values were expected in one row; give the sizes of one row, without the batch"
NAME = "letters of ASCII, digits and _ were expected, with no digit first; call it "
WRONG = [
    ("", f"--input is '', but {COLON}"),
    ("image", f"--input is 'image', but {COLON}"),
    ("image=uint8[8,8,3]", f"--input is 'image=uint8[8,8,3]', but {COLON}"),
    ("image:uint8", f"--input is 'image:uint8', but {BRACKETS}"),
    ("image:uint8 8,8,3", f"--input is 'image:uint8 8,8,3', but {BRACKETS}"),
    ("image:uint8(8,8,3)", f"--input is 'image:uint8(8,8,3)', but {BRACKETS}"),
    ("image:uint8[8,8,3", f"--input is 'image:uint8[8,8,3', but {BRACKETS}"),
    ("image:uint8[[8,8,3]]", f"--input is 'image:uint8[[8,8,3]]', but {BRACKETS}"),
    (
        "image:[8,8,3]uint8",
        f"--input is 'image:[8,8,3]uint8', but {FORM}write the name, a colon, the dtype, and last the dims in square "
        "brackets",
    ),
    ("x::float32[4]", f"--input is 'x::float32[4]', but {ONCE}"),
    ("x:float32[4],y:float32[4]", f"--input is 'x:float32[4],y:float32[4]', but {ONCE}"),
    ("my-image:uint8[8,8,3]", f"--input is 'my-image:uint8[8,8,3]', whose name is 'my-image', but {NAME}image, say"),
    ("2nd:float32[8]", f"--input is '2nd:float32[8]', whose name is '2nd', but {NAME}x, say"),
    (":float32[8]", f"--input is ':float32[8]', whose name is '', but {NAME}x, say"),
    ("my x:float32[8]", f"--input is 'my x:float32[8]', whose name is 'my x', but {NAME}x, say"),
    ("x:[8]", f"--input x has dtype none, but {DTYPES}take one of them, and convert it in forward"),
    ("x:int32[8]", f"--input x has dtype int32, but {DTYPES}take one of them, and convert it in forward"),
    ("x:float[8]", f"--input x has dtype float, but {DTYPES}write float32"),
    ("x:fp32[8]", f"--input x has dtype fp32, but {DTYPES}write float32"),
    ("x:torch.float32[8]", f"--input x has dtype torch.float32, but {DTYPES}write float32"),
    ("image:UINT8[8,8,3]", f"--input image has dtype UINT8, but {DTYPES}write uint8"),
    ("uint8:image[8,8,3]", f"--input uint8 has dtype image, but {DTYPES}write the name first: image:uint8[8,8,3]"),
    ("image:uint8[..,4]", f"--input image has dims [..,4], but {BATCH}"),
    ("image:uint8[...,3]", f"--input image has dims [...,3], but {BATCH}"),
    ("image:uint8[batch,8,8,3]", f"--input image has dims [batch,8,8,3], but {BATCH}"),
    ("x:float32[None,4]", f"--input x has dims [None,4], but {BATCH}"),
    ("x:float32[-1,4]", f"--input x has dims [-1,4], but {BATCH}"),
    ("x:float32[0]", f"--input x has dims [0], but {BATCH}"),
    ("x:float32[13.0]", f"--input x has dims [13.0], but {BATCH}"),
    ("x:float32[1e3]", f"--input x has dims [1e3], but {BATCH}"),
    ("x:float32[\u0663]", f"--input x has dims [\u0663], but {BATCH}"),
    ("image:uint8[8 8 3]", f"--input image has dims [8 8 3], but {WHOLE}; put commas between them: [8,8,3]"),
    ("image:uint8[8x8x3]", f"--input image has dims [8x8x3], but {WHOLE}; put commas between them: [8,8,3]"),
    ("image:uint8[8,8,3,]", f"--input image has dims [8,8,3,], but {COMMA}"),
    ("image:uint8[8,,8,3]", f"--input image has dims [8,,8,3], but {COMMA}"),
    ("x:uint8[100000,100000]", f"--input x has dims [100000,100000], but {MANY}"),
    (f"x:float32[{'9' * 6000}]", f"--input x has dims [{'9' * 60}…], but {MANY}"),
    ("image:uint8[8,8,4]", f"--input is 'image:uint8[8,8,4]', but {IMAGE}"),
    ("image:uint8[3,8,8]", f"--input is 'image:uint8[3,8,8]', but {IMAGE}"),
    ("image:uint8[1,8,8,3]", f"--input is 'image:uint8[1,8,8,3]', but {IMAGE}"),
    (
        "x:float32[2000000]",
        "--input x has 2,000,000 columns, but a table has at most 1,000,000; give x:float32[1,2000000] for a tensor "
        "that is handed to forward as it is",
    ),
]


@pytest.mark.parametrize(("text", "told"), [pytest.param(*one, id=one[0][:30] or "empty") for one in WRONG])
def test_a_wrong_input_is_refused_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(ExportError) as raised:
        read_inputs(InputSettings(inputs=(text,)))
    assert str(raised.value) == told


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(ExportError, match="--input names x twice, but each input has a name of its own; rename one"):
        read_inputs(InputSettings(inputs=("x:float32[4]", " x : int64[4]")))


def test_blanks_around_the_parts_do_no_harm() -> None:
    spec = parse_input(" image : uint8 [ 8 , 9, 3 ]\n")
    assert (spec.name, spec.dtype, spec.shape) == ("image", "uint8", ("batch", 8, 9, 3))


def test_tensors_of_any_shape_are_taken_under_another_name() -> None:
    for text in ("planes:uint8[8,8,4]", "image:float32[3,8,8]", "x:int64[]", "x:float32[1,2000000]"):
        assert read_inputs(InputSettings(inputs=(text,))).preprocessing is None
    both = read_inputs(InputSettings(inputs=("image:uint8[8,8,4]", "x:float32[4]")))
    assert both.preprocessing is None


def test_the_command_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own_files.place(tmp_path)
    assert main(["--factory", "net.py:Net", "--weights", "net.pth", "--input", "image:uint8[..,4]"]) == 2
    assert "error: --input image has dims [..,4], but whole numbers" in capsys.readouterr().err
