"""Images as people have them: every mode, every orientation, damaged, huge, or no image at all."""

import io
import os
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve.bundle import ImagePreprocessing
from serve.preprocess import ImageError, ImageTooLargeError, decode_image, prepare_arrays, prepare_bytes, prepare_image

RGB = ImagePreprocessing(color="RGB", height=8, width=8)
GREY = ImagePreprocessing(color="L", height=8, width=8)
INK = ImagePreprocessing(color="L", height=28, width=28, fit="ink")


def encode(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def one_bit_png(width: int, height: int) -> bytes:
    """Return a small file of many black pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gradient(mode: str) -> Image.Image:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    return Image.fromarray(np.stack([ramp, ramp.T, 255 - ramp], axis=-1)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "image_format"),
    [
        ("RGB", "PNG"),
        ("L", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
        ("RGB", "PPM"),
        ("RGB", "GIF"),
    ],
)
@pytest.mark.parametrize("spec", [RGB, GREY], ids=["rgb", "grey"])
def test_lossless_modes_give_the_pixels_of_pillows_conversion(
    mode: str, image_format: str, spec: ImagePreprocessing
) -> None:
    image = gradient(mode)
    data = encode(image, image_format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").convert(spec.color)).reshape(spec.shape)
    np.testing.assert_array_equal(prepare_bytes(data, spec), expected)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_close(image_format: str) -> None:
    flat = Image.new("RGB", (32, 32), (200, 100, 50))
    prepared = prepare_bytes(encode(flat, image_format, quality=95), RGB).astype(int)
    assert np.abs(prepared - [200, 100, 50]).max() <= 6


def test_cmyk_jpeg() -> None:
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(prepare_bytes(encode(flat, "JPEG"), RGB).astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (257, 1), (257 * 200, 200), (65535, 255)])
def test_sixteen_bits_are_scaled_not_clipped(value: int, expected: int) -> None:
    image = Image.fromarray(np.full((8, 8), value, dtype=np.uint16))
    assert set(prepare_bytes(encode(image), GREY).ravel().tolist()) == {expected}


@pytest.mark.parametrize(
    ("maximum", "value", "expected"),
    [(65535, 0, 0), (65535, 257 * 200, 200), (65535, 65535, 255), (1023, 1023, 255), (1023, 512, 128)],
)
@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
def test_a_grey_map_of_more_than_eight_bits_is_scaled(maximum: int, value: int, expected: int, plain: bool) -> None:
    header = f"{'P2' if plain else 'P5'}\n8 8\n{maximum}\n".encode()
    data = header + (f"{value}\n".encode() if plain else struct.pack(">H", value)) * 64
    assert set(prepare_bytes(data, GREY).ravel().tolist()) == {expected}


@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_take_the_background(mode: str, background: int) -> None:
    spec = ImagePreprocessing(color="L", height=8, width=8, background=background)
    image = Image.new("RGBA", (8, 8), (9, 9, 9, 0)).convert(mode) if mode != "P" else Image.new("P", (8, 8), 3)
    if mode == "P":
        image.putpalette([9] * 12)
    data = encode(image, **({"transparency": 3} if mode == "P" else {}))
    assert set(prepare_bytes(data, spec).ravel().tolist()) == {background}


def test_half_transparent_pixels_are_mixed() -> None:
    data = encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    assert set(prepare_bytes(data, GREY).ravel().tolist()) == {127}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_comes_out_upright(orientation: int, image_format: str) -> None:
    upright = np.zeros((16, 24), dtype=np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encode(Image.fromarray(np.ascontiguousarray(stored)), image_format, exif=exif))
    assert image.size == (24, 16)
    assert np.abs(np.asarray(image.convert("L")).astype(int) - upright).max() <= 40


def test_odd_metadata_beside_the_orientation_does_no_harm() -> None:
    # EXIF with an image width of 1.5, which Pillow reads but cannot write anew
    entries = struct.pack("<HHIf", 0x0100, 11, 1, 1.5) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    assert decode_image(encode(Image.new("RGB", (4, 9)), "JPEG", exif=exif)).size == (9, 4)


def test_a_file_whose_mode_has_no_conversion_is_one_sentence() -> None:
    lab = Image.merge("LAB", [Image.new("L", (8, 8), 100)] * 3)
    with pytest.raises(ImageError, match="image has pixel mode LAB, which has no way to L; convert it first"):
        prepare_bytes(encode(lab, "TIFF"), GREY)
    with pytest.raises(
        ImageError, match=r"image has pixel mode F \(32 bits\), whose range is unknown, but 8 or 16 bits"
    ):
        prepare_bytes(encode(Image.new("F", (8, 8), 0.5), "TIFF"), GREY)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "image has 0 bytes, but an image file was expected; send the file's content", id="empty"),
        pytest.param(
            b"a text named .png\n", "the 18 bytes are no image in a known format, but one of JPEG, PNG", id="text"
        ),
        pytest.param(b"\x89PNG\r\n\x1a\n", "no image in a known format|cannot be decoded", id="png-signature-alone"),
        pytest.param(
            encode(Image.effect_noise((64, 64), 99))[:2000],
            r"image cannot be decoded \(.*cut short, send the complete file",
            id="png-cut",
        ),
        pytest.param(
            encode(Image.effect_noise((64, 64), 99), "JPEG")[:-900],
            r"image cannot be decoded \(.*truncated",
            id="jpeg-cut",
        ),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image in a known format", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "no image in a known format", id="postscript"),
    ],
)
def test_what_is_no_image_is_one_sentence(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        prepare_bytes(data, GREY)


def test_the_cap_on_pixels_from_both_sides() -> None:
    data = one_bit_png(100, 50)
    assert decode_image(data, max_pixels=5000).size == (100, 50)
    with pytest.raises(
        ImageTooLargeError, match="image has 100 x 50 = 5,000 pixels, but at most 4,999 are decoded; send a"
    ):
        decode_image(data, max_pixels=4999)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (9_500, 9_500)], ids=["bomb-error", "bomb-warning"])
def test_a_huge_image_is_refused_in_bounded_memory(width: int, height: int, tmp_path: Path) -> None:
    data = one_bit_png(width, height)
    assert len(data) < 200_000
    (tmp_path / "huge.png").write_bytes(data)
    code = """
import resource, sys
from serve.preprocess import ImageTooLargeError, decode_image
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(data)
except ImageTooLargeError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""
    if sys.platform != "linux":
        pytest.skip("ru_maxrss counts kibibytes on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "huge.png")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path.cwd(),
    )
    grown_kib, _, message = done.stdout.partition(" ")
    assert int(grown_kib) < 20_000
    pixels = f"{width} x {height} = {width * height:,} pixels"
    assert message == f"image has {pixels}, but at most 64,000,000 are decoded; send a smaller one\n"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_what_pillow_refuses_for_its_size_is_refused_in_our_words(
    image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(Image.new("RGB", (60, 50)), image_format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageTooLargeError) as caught:
        decode_image(data, max_pixels=2999)
    assert str(caught.value) == "image has 60 x 50 = 3,000 pixels, but at most 2,999 are decoded; send a smaller one"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, of damaged metadata
def test_damaged_files_raise_nothing_but_image_errors() -> None:
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.effect_noise((31, 24), 80)
    seeds = [
        encode(noise, "JPEG", exif=exif),
        encode(noise.convert("CMYK"), "JPEG"),
        encode(noise.convert("RGBA"), "PNG"),
        encode(noise.convert("P"), "PNG"),
        encode(noise.convert("RGBA"), "WEBP"),
        encode(noise, "GIF"),
        encode(noise, "BMP"),
        encode(noise.convert("RGB"), "TIFF"),
        encode(noise, "PPM"),
        encode(noise.convert("RGB"), "AVIF"),
    ]
    refused = 0
    for _ in range(1500):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(min(len(data), rng.choice([64, 10**6])))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(1, len(data)) :]
        try:
            assert prepare_bytes(bytes(data), INK, max_pixels=1_000_000).shape == (28, 28, 1)
        except ImageError:
            refused += 1
    assert 100 < refused < 1500


def test_resize_is_stretch() -> None:
    left = np.zeros((10, 40, 3), dtype=np.uint8)
    left[:, :20] = 255
    prepared = prepare_image(Image.fromarray(left), RGB)
    assert prepared.shape == (8, 8, 3)
    assert prepared[:, :3].min() == 255
    assert prepared[:, 5:].max() == 0


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 400), (401, 299), (256, 256), (90, 31), (33, 1100), (225, 224)], ids=str)
def test_crop_is_torchvisions_resize_and_centre_crop(size: tuple[int, int], interpolation: Any) -> None:
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    pixels = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    spec = ImagePreprocessing(color="RGB", height=56, width=48, fit="crop", resize=64, interpolation=interpolation)
    theirs = Compose([Resize(64, InterpolationMode(interpolation)), CenterCrop((56, 48))])(image)
    assert np.array_equal(prepare_image(image, spec), np.asarray(theirs))


def test_a_very_long_line_is_cropped_without_being_made_large() -> None:
    spec = ImagePreprocessing(color="L", height=224, width=224, fit="crop", resize=256)
    line = np.zeros((1, 4_000_000), dtype=np.uint8)
    line[:, 2_000_000:] = 255
    tracemalloc.start()
    prepared = prepare_image(Image.fromarray(line), spec)[..., 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert prepared.shape == (224, 224)
    assert prepared[0, 0] <= 2
    assert prepared[0, -1] >= 253


@pytest.mark.parametrize("paper", [255, 0], ids=["black-on-white", "white-on-black"])
def test_ink_is_white_on_black_centred_and_fills_the_square(paper: int) -> None:
    pixels = np.full((200, 300), paper, dtype=np.uint8)
    pixels[20:120, 30:50] = 255 - paper
    prepared = prepare_image(Image.fromarray(pixels), INK)[..., 0]
    rows, columns = np.flatnonzero(prepared.max(axis=1) > 127), np.flatnonzero(prepared.max(axis=0) > 127)
    assert (rows[0], rows[-1]) == (0, 27)
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5
    assert prepared.max() == 255
    assert prepared[0, 0] == 0


def test_strong_ink_does_not_overflow() -> None:
    pixels = np.full((40, 40), 255, dtype=np.uint8)
    pixels[10:30, 10:30] = 0
    pixels[15:25, 15:25] = 100
    prepared = prepare_image(Image.fromarray(pixels), INK)[..., 0]
    assert prepared[0, 0] == 255
    assert prepared[14, 14] == 155


def test_a_blank_sheet_is_black() -> None:
    assert prepare_image(Image.new("L", (50, 30), 255), INK).max() == 0


def test_a_very_long_line_does_not_become_a_square_of_it() -> None:
    line = np.full((3, 200_000), 255, dtype=np.uint8)
    line[1] = 0
    assert prepare_image(Image.fromarray(line), INK).shape == (28, 28, 1)


def test_arrays_and_images_are_prepared_alike() -> None:
    rng = np.random.default_rng(0)
    same = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert prepare_arrays(same, RGB) is same
    np.testing.assert_array_equal(same[0], prepare_image(Image.fromarray(same[0]), RGB))
    other = rng.integers(0, 256, (3, 20, 30, 1), dtype=np.uint8)
    expected = np.stack([prepare_image(Image.fromarray(image[..., 0]), GREY) for image in other])
    np.testing.assert_array_equal(prepare_arrays(other, GREY), expected)
    assert prepare_arrays(other[:0], GREY).shape == (0, 8, 8, 1)


def test_a_real_photo() -> None:
    root = os.environ.get("DATA_ROOT")
    if root is None or not (photo := Path(root) / "pizza-photo.jpeg").is_file():
        pytest.skip("DATA_ROOT has no pizza-photo.jpeg")
    assert prepare_bytes(photo.read_bytes(), RGB).std() > 10
