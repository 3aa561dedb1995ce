"""From image bytes to the uint8 array a graph takes: decode, turn upright, colour mode, fit, resize. The only one."""

import contextlib
import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from serve.bundle import ImagePreprocessing

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MAX_PIXELS = 64_000_000
_INK_SHARE = 0.25  # a pixel counts as ink from a quarter of the darkest stroke on: paper texture stays below it
# one long side of a drawing's cut-out, pixels: a line of 1 x 64,000,000 must not become a square of them
_MAX_SIDE = 4096
# what Pillow 12.3 raises for damaged files, as found by fuzzing all of FORMATS
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # the second where warnings are errors
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """Bytes that are not an image this library reads."""


class ImageTooLargeError(ImageError):
    """An image with more pixels than the cap; it is refused before any pixel is decoded."""


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file, upright.

    Args:
        data: The file's bytes.
        max_pixels: Largest width x height that is decoded; larger ones are refused from their header alone.

    Returns:
        The first frame, decoded, EXIF orientation applied.

    Raises:
        ImageError: the bytes are empty, no known image format, or cut short.
        ImageTooLargeError: the image has more pixels than the cap.
    """
    if not data:
        raise ImageError("image has 0 bytes, but an image file was expected; send the file's content")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageTooLargeError(
                f"image has {_pixels(width, height)}, but at most {max_pixels:,} are decoded; send a smaller one"
            )
        image.load()
        # Pillow 12.3 scales a PGM of more than 8 bits to 16, and calls them 32
        return _upright(image.convert("I;16") if image.format == "PPM" and image.mode == "I" else image)
    except ImageError:
        raise
    except _BOMB as error:
        size = _size_in_header(data)
        found = "more pixels than can be counted" if size is None else _pixels(*size)
        raise ImageTooLargeError(
            f"image has {found}, but at most {max_pixels:,} are decoded; send a smaller one"
        ) from error
    except UnidentifiedImageError:
        raise ImageError(
            f"the {len(data):,} bytes are no image in a known format, but one of {', '.join(FORMATS)} was expected"
        ) from None
    except _DAMAGE as error:
        raise ImageError(
            f"image cannot be decoded ({error}); the file is damaged or cut short, send the complete file"
        ) from error


def prepare_image(image: Image.Image, spec: ImagePreprocessing) -> NDArray[np.uint8]:
    """Turn a decoded image into what the graph takes.

    Args:
        image: Any mode: grey, RGB, palette, with transparency, CMYK, 16 bits a channel.
        spec: The bundle's preprocessing.

    Returns:
        ``(height, width, channels)``, uint8, 0 to 255.

    Raises:
        ImageError: the pixel mode has no defined range (32-bit integers, floats).
    """
    image = _to_color(image, spec)
    how = Image.Resampling[spec.interpolation.upper()]
    if spec.fit == "ink":
        image = _cut_ink(image)
    elif spec.resize is not None:
        image = _cut_centre(image, spec, spec.resize, how)
    if image.size != (spec.width, spec.height):
        image = image.resize((spec.width, spec.height), how)
    return np.asarray(image, dtype=np.uint8).reshape(spec.shape)


def prepare_bytes(data: bytes, spec: ImagePreprocessing, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode and prepare in one step; see `decode_image` and `prepare_image`."""
    return prepare_image(decode_image(data, max_pixels=max_pixels), spec)


def prepare_arrays(images: NDArray[np.uint8], spec: ImagePreprocessing) -> NDArray[np.uint8]:
    """Prepare images that are arrays already, as datasets hold them.

    Args:
        images: ``(batch, height, width, channels)``, uint8, any size, one or three channels.
        spec: The bundle's preprocessing.

    Returns:
        ``(batch, height, width, channels)`` of the spec's size. Images that have that shape already and are only to be
        stretched come back untouched: `prepare_image` would return the same pixels.
    """
    if spec.fit == "stretch" and images.shape[1:] == spec.shape:
        return images
    prepared = [
        prepare_image(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), spec) for image in images
    ]
    return np.stack(prepared) if prepared else np.empty((0, *spec.shape), dtype=np.uint8)


def _pixels(width: int, height: int) -> str:
    return f"{width} x {height} = {width * height:,} pixels"


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    """Return width and height of an image that Pillow refuses to open for its size, or None where it has no header."""
    # `Image.open` knows them but does not tell, and its limit is one for all threads; the format's own reader has none
    for name in FORMATS:
        read, accepts = Image.OPEN[name]
        if accepts is None or accepts(data[:16]) is True:
            with contextlib.suppress(*_DAMAGE, *_BOMB):
                return read(io.BytesIO(data), "").size
    return None


def _upright(image: Image.Image) -> Image.Image:
    # not ImageOps.exif_transpose: it writes the EXIF block anew, which fails where another of its fields is odd
    transpose = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if transpose is None else image.transpose(transpose)


def _to_color(image: Image.Image, spec: ImagePreprocessing) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips 16-bit values at 255 instead of scaling them
        scaled = (np.asarray(image, dtype=np.uint32) + 128) // 257
        image = Image.fromarray(scaled.astype(np.uint8))
    elif image.mode in {"I", "F"}:
        raise ImageError(
            f"image has pixel mode {image.mode} (32 bits), whose range is unknown, but 8 or 16 bits were expected; "
            "convert it first"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        under = Image.new("RGBA", image.size, (spec.background,) * 3 + (255,))
        image = Image.alpha_composite(under, image)
    if image.mode == spec.color:
        return image
    try:
        return image.convert(spec.color)
    except ValueError as error:
        raise ImageError(
            f"image has pixel mode {image.mode}, which has no way to {spec.color}; convert it first"
        ) from error


def _cut_centre(image: Image.Image, spec: ImagePreprocessing, resize: int, how: Image.Resampling) -> Image.Image:
    """Resize the shorter side and cut out the centre: torchvision's ``Resize`` and ``CenterCrop``, pixel by pixel.

    Only what will be cut out is ever resized: a line of 1 x 64,000,000 pixels must not become 256 of them.
    """
    shorter, longer = sorted(image.size)
    scaled = resize * longer // shorter
    width, height = (resize, scaled) if image.width <= image.height else (scaled, resize)
    left, top = round((width - spec.width) / 2), round((height - spec.height) / 2)
    if scaled <= _MAX_SIDE:
        resized = image if image.size == (width, height) else image.resize((width, height), how)
        return resized.crop((left, top, left + spec.width, top + spec.height))
    box = (
        left * image.width / width,
        top * image.height / height,
        (left + spec.width) * image.width / width,
        (top + spec.height) * image.height / height,
    )
    return image.resize((spec.width, spec.height), how, box=box)


def _cut_ink(image: Image.Image) -> Image.Image:
    """Return the drawing alone: white on black, centred in a square that it fills."""
    pixels = np.asarray(image.convert("L"), dtype=np.int16)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = int(np.median(border))
    ink = np.clip(paper - pixels if paper > 127 else pixels - paper, 0, None)
    strongest = int(ink.max())
    if strongest == 0:
        return Image.fromarray(np.zeros_like(pixels, dtype=np.uint8)).convert(image.mode)
    rows, columns = (np.flatnonzero((ink >= _INK_SHARE * strongest).any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    cut = Image.fromarray((ink[top:bottom, left:right].astype(np.int32) * 255 // strongest).astype(np.uint8))
    if max(cut.size) > _MAX_SIDE:
        scale = _MAX_SIDE / max(cut.size)
        cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.BOX)
    side = max(cut.size)
    square = Image.new("L", (side, side), 0)
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square.convert(image.mode)
