"""What `parity --data` says of samples that it cannot take: its own option, the file and the place."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluate.source import held_out_of
from export.errors import ExportError
from serve.bundle import read_bundle
from tests.serve.tiny_bundle import write_tiny_bundle


def test_an_unknown_true_class_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "lab.npz"
    np.savez(path, image=np.zeros((4, 8, 8, 1), np.uint8), label=np.array([1, 9, 99, 0]))
    with pytest.raises(ExportError) as caught:
        held_out_of(path, read_bundle(write_tiny_bundle(tmp_path / "tiny", labels=tuple("0123456789"))).manifest)
    assert str(caught.value) == (
        f"--data {path} has label 99 in row 3, but the classes are 0, 1, 2, 3, 4, 5, 6, 7 and 2 more; give one of "
        "those names there, or its index from 0 to 9"
    )


def test_a_text_file_in_the_place_of_arrays_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_text("no archive", encoding="utf-8")
    with pytest.raises(ExportError) as caught:
        held_out_of(path, read_bundle(write_tiny_bundle(tmp_path / "tiny", labels=tuple("0123456789"))).manifest)
    assert str(caught.value) == (
        f"--data {path} is no .npz, but one with an array per input was expected; write it with "
        "np.savez(FILE, NAME=array)"
    )


def test_an_image_that_is_cut_short_has_one_remedy(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(content, "png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(content.getvalue()[:60])
    with pytest.raises(ExportError) as caught:
        held_out_of(tmp_path / "photos", read_bundle(write_tiny_bundle(tmp_path / "tiny")).manifest)
    assert str(caught.value) == (
        f"--data: {tmp_path / 'photos' / 'a.png'} cannot be read: image cannot be decoded (image file is truncated); "
        "replace it or take it away"
    )
