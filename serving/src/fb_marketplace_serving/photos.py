"""Bytes in, a canonical photo out: the one way a photo is read, offline and online.

A canonical photo is a baseline RGB JPEG of 256 × 256 pixels, upright, letterboxed on black, alpha
laid on white, with no metadata. Cleaning stores it and the server makes it of every upload, so what
is indexed is what is served. Given a canonical photo, it comes back byte for byte.
"""

import io
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

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


def canonical(data: bytes, limits: Limits | None = None) -> bytes:
    """Give the canonical photo of an upload; see :func:`read`."""
    return read(data, limits).jpeg


def read(data: bytes, limits: Limits | None = None) -> Photo:
    """Read an upload, by its content, into a canonical photo.

    JPEG is decoded at the smallest of libjpeg's scales (1/1 to 1/8) that still covers the result,
    and resized once from there. Only the first frame of an animation counts.

    Args:
        data: the bytes of a JPEG, PNG or WebP file.
        limits: bytes and pixels above which a photo is refused without decoding it.

    Raises:
        PhotoError: the bytes are no photo that can be read whole; says which way.
    """
    limits = limits or Limits()
    if len(data) > limits.max_bytes:
        raise PhotoError(
            "oversized", f"{len(data):,} bytes; at most {limits.max_bytes:,} are accepted"
        )
    format_ = sniff(data)
    try:
        with Image.open(io.BytesIO(data), formats=(format_,)) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise _too_many_pixels(f"{width} × {height}", limits)
            if format_ == "JPEG" and _has_canonical_layout(data):
                image.load()
                return Photo(data, format_, width, height)
            return Photo(_encode(_letterbox(image)), format_, width, height)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels("far more", limits) from None
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead them to
        if _ends_early(data, format_):
            raise PhotoError("truncated", f"the {format_} ends early: {_said(error)}") from error
        raise PhotoError("undecodable", f"the {format_} is damaged: {_said(error)}") from error


def sniff(data: bytes) -> Format:
    """Tell the format of a photo by its first bytes, whatever its name says.

    Raises:
        PhotoError: it is empty, of another image format, or no image at all.
    """
    if not data:
        raise PhotoError("empty", "0 bytes")
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


def pixels(jpeg: bytes) -> NDArray[np.uint8]:
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
        seen = image.convert("RGBA").resize(size, Image.Resampling.LANCZOS)
        white = Image.new("RGBA", size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image.convert("RGB")


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
    return "its header cannot be read" if isinstance(error, UnidentifiedImageError) else str(error)


def _too_many_pixels(found: str, limits: Limits) -> PhotoError:
    detail = f"{found} pixels; at most {limits.max_pixels:,} are accepted"
    return PhotoError("too_many_pixels", detail)


def _ends_early(data: bytes, format_: Format) -> bool:
    if format_ == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if format_ == "PNG":
        return b"IEND" not in data[-64:]
    return len(data) < int.from_bytes(data[4:8], "little") + 8


def _has_canonical_layout(data: bytes) -> bool:
    """Walk the segments of a JPEG (ITU-T T.81, annex B): baseline, 256 × 256, three components, a
    plain JFIF header, nothing else, nothing after the end.
    """
    position, seen_header, seen_frame = 2, False, False
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = (
            data[position + 1],
            int.from_bytes(data[position + 2 : position + 4], "big"),
        )
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE0:
            if seen_header or length != 16 or not body.startswith(b"JFIF\x00"):
                return False
            seen_header = True
        elif marker == 0xC0:
            side = SIDE.to_bytes(2, "big")
            if seen_frame or body[:6] != b"\x08" + side + side + b"\x03":
                return False
            seen_frame = True
        elif marker == 0xDA:
            end = data.find(b"\xff\xd9", position)
            return seen_header and seen_frame and end == len(data) - 2
        elif marker not in (0xC4, 0xDB, 0xDD):
            return False
        position += 2 + length
    return False
