"""Bytes in, a canonical photo out: the one way a photo is read, offline and online.

A canonical photo is a baseline RGB JPEG of 256 × 256 pixels, upright, letterboxed on black, alpha
laid on white, with no metadata. Cleaning stores it and the server makes it of every upload, so what
is indexed is what is served. Given a canonical photo, it comes back byte for byte.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fb_marketplace_serving.imaging.structure import (
    check_jpeg_structure,
    check_png_structure,
    is_plain_jpeg,
)

SIDE: Final = 256
"""Width and height of a canonical photo, in pixels."""

VERSION: Final = 1
"""Goes up when the same bytes would give another canonical photo."""

JPEG_QUALITY: Final = 90

Format = Literal["JPEG", "PNG", "WEBP"]
Reason = Literal[
    "empty",
    "not_an_image",
    "unsupported_format",
    "oversized",
    "too_many_pixels",
    "truncated",
    "undecodable",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

_UPRIGHT: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""

_UNSUPPORTED: Final = (
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("TIFF", b"II*\x00"),
    ("TIFF", b"MM\x00*"),
    ("JPEG XL", b"\xff\x0a"),
    ("JPEG XL", b"\x00\x00\x00\x0cJXL "),
    ("JPEG 2000", b"\x00\x00\x00\x0cjP  "),
    ("PSD", b"8BPS"),
)


_EXCESS: Final[dict[Format, Callable[[bytes], str | None]]] = {
    "JPEG": check_jpeg_structure,
    "PNG": check_png_structure,
    "WEBP": lambda _: None,  # libwebp walks the parts itself, quickly
}

_PIXELS_A_STRIP: Final = 2_000_000
"""Converted at once: some 8 MB."""


class PhotoError(ValueError):
    """A photo that is turned away: ``reason`` is one of ``REASONS``, ``detail`` what was found."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["PhotoError"], tuple[Reason, str]]:
        return PhotoError, (self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before anything is decoded."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True)
class Photo:
    """A canonical photo and what it was made of.

    Attributes:
        jpeg: the canonical photo.
        format: format of the source, by its content.
        width: width of the source as stored, in pixels.
        height: height of the source as stored, in pixels.
    """

    jpeg: bytes
    format: Format
    width: int
    height: int


def canonicalize(data: bytes, limits: Limits | None = None) -> bytes:
    """Give the canonical photo of an upload; see :func:`read`."""
    return read_photo(data, limits).jpeg


def read_photo(data: bytes, limits: Limits | None = None) -> Photo:
    """Read an upload, by its content, into a canonical photo.

    JPEG is decoded at the smallest of libjpeg's scales (1/1 to 1/8) that still covers the result,
    and resized once from there. Only the first frame of an animation counts.

    Args:
        data: the bytes of a JPEG, PNG or WebP file.
        limits: bytes and pixels above which a photo is refused without decoding it.

    Raises:
        PhotoError: the bytes are no photo that can be read whole; says which way.
    """
    with _opened(data, limits or Limits()) as (format_, image):
        width, height = image.size
        if format_ == "JPEG" and is_plain_jpeg(data, SIDE):
            image.load()
            return Photo(data, format_, width, height)
        return Photo(_encode(_letterbox(image)), format_, width, height)


def photo_size(data: bytes, limits: Limits | None = None) -> tuple[int, int]:
    """Give the width and height that an upload says it has, in pixels; nothing is decoded.

    Args:
        data: the bytes of a JPEG, PNG or WebP file.
        limits: above which a photo is refused.

    Raises:
        PhotoError: it is refused, or its header cannot be read.
    """
    with _opened(data, limits or Limits()) as (_, image):
        return image.size


def detect_format(data: bytes) -> Format:
    """Tell the format of a photo by its first bytes, whatever its name says.

    Raises:
        PhotoError: it is empty, of another image format, or no image at all.
    """
    if not data:
        raise PhotoError("empty", "it has 0 bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    accepted = "JPEG, PNG and WebP are accepted"
    for name, magic in _UNSUPPORTED:
        if data.startswith(magic):
            raise PhotoError("unsupported_format", f"{name}; {accepted}")
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        raise PhotoError("unsupported_format", f"BMP; {accepted}")
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace")
        raise PhotoError("unsupported_format", f"ISO media ({brand}); {accepted}")
    # Without the b of Python: readers of the page see this too.
    raise PhotoError("not_an_image", f"begins with {repr(data[:8])[1:]}; {accepted}")


def decode_canonical(jpeg: bytes) -> NDArray[np.uint8]:
    """Decode a canonical photo: uint8, (256, 256, 3), RGB.

    Raises:
        ValueError: it is not a canonical photo.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            array = np.asarray(image, dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise ValueError(
            f"a canonical photo is a JPEG; found {len(jpeg):,} bytes: {_said(error)}"
        ) from error
    if array.shape != (SIDE, SIDE, 3):
        raise ValueError(f"a canonical photo is {SIDE} × {SIDE} RGB; found {array.shape}")
    return array


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[tuple[Format, Image.Image]]:
    """Open an upload that is within the limits; what its decoder raises in the block is told as it
    should be.
    """
    if len(data) > limits.max_bytes:
        raise PhotoError(
            "oversized", f"{len(data):,} bytes; at most {limits.max_bytes:,} are accepted"
        )
    format_ = detect_format(data)
    excess = _EXCESS[format_](data)
    if excess:
        raise PhotoError("undecodable", f"the {format_} has {excess}")
    try:
        with Image.open(io.BytesIO(data), formats=(format_,)) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise _too_many_pixels(f"{width} × {height}", limits)
            yield format_, image
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels("far more", limits) from None
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead them to
        if _ends_early(data, format_):
            raise PhotoError("truncated", f"the {format_} ends early: {_said(error)}") from error
        raise PhotoError("undecodable", f"the {format_} is damaged: {_said(error)}") from error


def _letterbox(image: Image.Image) -> Image.Image:
    """Fit an opened photo, upright, into the middle of a black square, in RGB."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image.draft(None, size)
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    flat = _opaque(image, size)
    if turn is not None:
        flat = flat.transpose(turn)
    square = Image.new("RGB", (SIDE, SIDE))
    square.paste(flat, ((SIDE - flat.width) // 2, (SIDE - flat.height) // 2))
    return square


def _opaque(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize to ``size`` in RGB, what is transparent laid on white."""
    if image.has_transparency_data:
        # Premultiplied while it is resized, or what cannot be seen would colour its neighbours.
        mode = "RGBA" if image.size == size else "RGBa"
        whole = _converted(image, mode, lambda part: _in_mode(_in_mode(part, "RGBA"), mode))
        seen = _resized(whole, size).convert("RGBA")
        white = Image.new("RGBA", size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if image.mode.startswith("I"):
        image = _converted(image, "L", _in_8_bits)
    elif image.mode == "P":
        image = _converted(image, "RGB", lambda part: part.convert("RGB"))
    return _resized(image, size).convert("RGB")


def _converted(
    image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Convert a strip of rows at a time: what stands between two modes is never held whole."""
    if image.mode == mode:
        return image
    whole, rows = Image.new(mode, image.size), max(1, _PIXELS_A_STRIP // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        whole.paste(convert(image.crop((0, top, image.width, bottom))), (0, top))
    return whole


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _in_8_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> object:
    """Give the EXIF orientation; upright where it is damaged, as the pixels may be good."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - Pillow's EXIF reader raises struct.error and more
        return 1


def _encode(square: Image.Image) -> bytes:
    buffer = io.BytesIO()
    square.info.clear()
    square.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _said(error: Exception) -> str:
    """Give what Pillow says, the same for the same bytes: an unknown file it names by its address
    in memory.
    """
    if isinstance(error, UnidentifiedImageError):
        return "its header cannot be read"
    return str(error) or "its parts do not fit each other"


def _too_many_pixels(found: str, limits: Limits) -> PhotoError:
    detail = f"{found} pixels; at most {limits.max_pixels:,} are accepted"
    return PhotoError("too_many_pixels", detail)


def _ends_early(data: bytes, format_: Format) -> bool:
    if format_ == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if format_ == "PNG":
        return b"IEND" not in data[-64:]
    return len(data) < int.from_bytes(data[4:8], "little") + 8
