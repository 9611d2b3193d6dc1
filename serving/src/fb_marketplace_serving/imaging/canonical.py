"""Canonical photos: pipeline and server convert every photo to this form before anything else.

A canonical photo is a baseline sRGB JPEG of 256 × 256 pixels: upright, letterboxed on black, transparency
composed on white, without metadata. Cleaning stores it, and the server makes it from every upload, so
indexed photos and uploads are processed in the same way. A canonical photo is returned byte for byte.

People look at a larger form, the display rendition, which cleaning makes from the same file.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from fb_marketplace_serving.imaging.avif_structure import coded_pixels
from fb_marketplace_serving.imaging.decoding_cost import DecodingCost, decoding_cost, webp_cost
from fb_marketplace_serving.imaging.letterbox import fit, letterbox, stretch_content
from fb_marketplace_serving.imaging.structure import (
    END_OF_IMAGE,
    Structure,
    check_jpeg_structure,
    check_png_structure,
    is_plain_jpeg,
    iso_media_brands,
    iso_media_size,
    scans_without_end,
)

SIDE: Final = 256
"""Width and height of a canonical photo, in pixels."""

VERSION: Final = 2
"""Version of the conversion. Increase it if the same upload gives another canonical photo."""

JPEG_QUALITY: Final = 90

DISPLAY_VERSION: Final = 1
"""Version of display renditions. Increase it if the same upload gives another rendition."""

_DISPLAY_QUALITIES: Final = (85, 75, 65, 50)
_DISPLAY_SHRINKAGE: Final = 0.75

Format = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF"]
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

_AVIF_BRANDS: Final = frozenset([b"avif", b"avis"])
_HEIF_BRANDS: Final = frozenset(
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]
)

_MAX_CODED_SHARE: Final = 4
"""Pixels of all pictures in an AVIF file, for each pixel of the photo: transparency is a second one."""

_MIN_CODED_PIXELS: Final = 65_536

_HEIF_REMEDY: Final = "The extra `heif` of fb-marketplace-serving reads HEIC"

_FILLERS: Final = (0x00, 0x55, 0xB6, 0xFE)
_FILLER_BYTES: Final = 256
_COMPARED_SIDE: Final = 2048

MAX_COMPARED_PIXELS: Final = 200_000_000
"""Maximum pixels times scans of a JPEG without its end marker. It is decoded seven times: two seconds."""

MAX_SIDE: Final = 65_535
"""Maximum width and height, in pixels. A photo of one column and 16 million rows takes a gigabyte."""

_STRUCTURE_CHECKS: Final[dict[Format, Callable[[bytes], Structure]]] = {
    "JPEG": check_jpeg_structure,
    "PNG": check_png_structure,
    # Their decoders parse the parts themselves, quickly.
    "WEBP": lambda _: Structure(None),
    "AVIF": lambda _: Structure(None),
    "HEIF": lambda _: Structure(None),
}


class PhotoError(ValueError):
    """A rejected photo: ``reason`` is one of ``REASONS``, ``detail`` describes the bytes."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["PhotoError"], tuple[Reason, str]]:
        return PhotoError, (self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes above which a photo is rejected before it is decoded.

    Attributes:
        max_bytes: of the file.
        max_pixels: width times height.
        max_memory: bytes that decoding may take. A photo of 64 megapixels fits as a JPEG or as a PNG
            without transparency, one of 16 megapixels as a WebP.
    """

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 64_000_000
    max_memory: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DisplaySize:
    """Bounds of a display rendition.

    Attributes:
        side: maximum width and height, in pixels.
        max_bytes: maximum size of the JPEG.
    """

    side: int = 1024
    max_bytes: int = 200 * 1024


@dataclass(frozen=True, slots=True)
class Photo:
    """A canonical photo and the properties of its source.

    Attributes:
        jpeg: the canonical photo.
        display: the display rendition: a JPEG, upright, in sRGB, without bars or metadata, and never larger
            than the source. None if none was requested, or if the source is a canonical photo.
        format: format of the source, by its content.
        width: width of the source as stored, in pixels.
        height: height of the source as stored, in pixels.
    """

    jpeg: bytes
    format: Format
    width: int
    height: int
    display: bytes | None = None


def canonicalize(data: bytes, limits: Limits | None = None) -> bytes:
    """Return the canonical photo of an upload; see :func:`read_photo`."""
    return read_photo(data, limits).jpeg


def read_photo(
    data: bytes, limits: Limits | None = None, display: DisplaySize | None = None
) -> Photo:
    """Return the canonical photo of an upload, with the properties of its source.

    The format is detected from the content. A JPEG is decoded at the smallest of libjpeg's scales (1/8 to
    1/1) that is not smaller than the result, then resized once. Only the first frame of an animation is
    used. A JPEG that lacks nothing but its end marker is complete.

    Args:
        data: the bytes of a photo in an accepted format; see :func:`accepted_formats`.
        limits: sizes above which a photo is rejected before it is decoded.
        display: bounds of the display rendition; None to make none.

    Raises:
        PhotoError: the bytes are not a complete, acceptable photo.
    """
    limits = limits or Limits()
    try:
        return _read(data, limits, display)
    except PhotoError as error:
        scans = scans_without_end(data) if error.reason == "truncated" else None
        if scans is None or not _is_complete(scans, limits):
            raise
    return _read(scans + END_OF_IMAGE, limits, display)


def _is_complete(scans: bytes, limits: Limits) -> bool:
    """Check whether a JPEG without its end marker has all its pixels.

    The decoder invents missing pixels from the bytes that follow. Then other bytes give other pixels.
    """

    def pixels(after: bytes) -> bytes:
        with _opened(scans + after + END_OF_IMAGE, limits) as (_, image, _):
            image.draft(None, (_COMPARED_SIDE, _COMPARED_SIDE))
            return hashlib.sha256(image.tobytes()).digest()

    try:
        cost = estimate_cost(scans + END_OF_IMAGE, limits)
        if cost.width * cost.height * check_jpeg_structure(scans).scans > MAX_COMPARED_PIXELS:
            return False
        expected = pixels(b"")
        return all(pixels(bytes([value]) * _FILLER_BYTES) == expected for value in _FILLERS)
    except PhotoError:
        return False


def _read(data: bytes, limits: Limits, display: DisplaySize | None) -> Photo:
    with _opened(data, limits) as (format_, image, _):
        width, height = image.size
        if format_ == "JPEG" and is_plain_jpeg(data, SIDE):
            image.load()
            return Photo(data, format_, width, height)
        photo = Photo(_encode(letterbox(image, SIDE)), format_, width, height)
        if display is None:
            return photo
        if format_ != "JPEG":
            return replace(photo, display=_make_display(image, display))
    # A JPEG was decoded at the scale of the canonical photo.
    with _opened(data, limits) as (_, image, _):
        return replace(photo, display=_make_display(image, display))


def _make_display(image: Image.Image, size: DisplaySize) -> bytes:
    """Return the display rendition: the first quality that fits, or else the first smaller size."""
    picture = fit(image, min(1.0, size.side / max(image.size)))
    while True:
        for quality in _DISPLAY_QUALITIES:
            data = _encode(picture, quality, optimize=True)
            if len(data) <= size.max_bytes:
                return data
        picture = fit(picture, _DISPLAY_SHRINKAGE)


def estimate_cost(data: bytes, limits: Limits | None = None) -> DecodingCost:
    """Estimate the cost of decoding an upload, from its header.

    Args:
        data: the bytes of a photo in an accepted format.
        limits: sizes above which a photo is rejected.

    Raises:
        PhotoError: the photo is rejected, or its header cannot be read.
    """
    with _opened(data, limits or Limits()) as (_, _, cost):
        return cost


def detect_format(data: bytes) -> Format:
    """Return the format of a photo, detected from its first bytes.

    Raises:
        PhotoError: the bytes are empty, of another image format, or not an image.
    """
    if not data:
        raise PhotoError("empty", "it has 0 bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    brands = iso_media_brands(data)
    if not brands.isdisjoint(_AVIF_BRANDS) and features.check("avif"):
        return "AVIF"
    accepted = _accepted()
    if not brands.isdisjoint(_HEIF_BRANDS):
        if _can_read_heif():
            return "HEIF"
        raise PhotoError("unsupported_format", f"HEIC; {accepted}. {_HEIF_REMEDY}")
    for name, magic in _UNSUPPORTED:
        if data.startswith(magic):
            raise PhotoError("unsupported_format", f"{name}; {accepted}")
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        raise PhotoError("unsupported_format", f"BMP; {accepted}")
    if brands:
        brand = data[8:12].decode("ascii", "replace")
        raise PhotoError("unsupported_format", f"ISO media ({brand}); {accepted}")
    # Without Python's b prefix: users of the web page see this.
    raise PhotoError("not_an_image", f"begins with {repr(data[:8])[1:]}; {accepted}")


def accepted_formats() -> tuple[str, ...]:
    """Return the names of the formats that this installation reads."""
    more = {"AVIF": features.check("avif"), "HEIC": _can_read_heif()}
    return ("JPEG", "PNG", "WebP", *(name for name, is_readable in more.items() if is_readable))


def _accepted() -> str:
    *others, last = accepted_formats()
    return f"{', '.join(others)} and {last} are accepted"


@cache
def _can_read_heif() -> bool:
    """Check whether Pillow can read HEIC, and register its plugin on first use."""
    try:
        import pillow_heif
    except ImportError:
        return False
    # Only the photo itself, not its thumbnails, depth and auxiliary images.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True


def decode_canonical(jpeg: bytes) -> NDArray[np.uint8]:
    """Decode a canonical photo.

    Returns:
        uint8, (256, 256, 3), RGB.

    Raises:
        ValueError: it is not a canonical photo.
    """
    return np.asarray(_decode_canonical(jpeg))


def decode_stretched(jpeg: bytes) -> NDArray[np.uint8]:
    """Decode a canonical photo, and stretch its content over the bars: the input of networks.

    Returns:
        uint8, (256, 256, 3), RGB; see :func:`stretch_content`.

    Raises:
        ValueError: it is not a canonical photo.
    """
    image = _decode_canonical(jpeg)
    return stretch_content(np.asarray(image), image)


def decode_upload(data: bytes, limits: Limits | None = None) -> NDArray[np.uint8]:
    """Decode the canonical photo of an upload, stretched; an upload that is canonical already, only once.

    Args:
        data: the bytes of a photo in an accepted format.
        limits: sizes above which a photo is rejected before it is decoded.

    Returns:
        uint8, (256, 256, 3), RGB; see :func:`decode_stretched`.

    Raises:
        PhotoError: see :func:`read_photo`.
    """
    if is_plain_jpeg(data, SIDE):
        # What cannot be decoded is handled below: it may lack only its end.
        with suppress(PhotoError), _opened(data, limits or Limits()) as (_, image, _):
            return stretch_content(np.asarray(image), image)
    return decode_stretched(canonicalize(data, limits))


def _decode_canonical(jpeg: bytes) -> Image.Image:
    if not is_plain_jpeg(jpeg, SIDE):
        raise ValueError(
            f"a canonical photo is a JPEG of {SIDE} × {SIDE} RGB pixels without metadata; found "
            f"{len(jpeg):,} bytes that begin with {jpeg[:8]!r}"
        )
    # Not Image.open: it would parse the header again, in Python.
    return Image.frombytes("RGB", (SIDE, SIDE), jpeg, "jpeg", "RGB", "")


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[tuple[Format, Image.Image, DecodingCost]]:
    """Open an upload within the limits, with the cost of decoding it.

    Pillow's errors in the ``with`` block become PhotoErrors.
    """
    if len(data) > limits.max_bytes:
        raise PhotoError(
            "oversized", f"{len(data):,} bytes; at most {limits.max_bytes:,} are accepted"
        )
    format_ = detect_format(data)
    structure = _STRUCTURE_CHECKS[format_](data)
    if structure.problem:
        raise PhotoError("undecodable", f"the {format_} has {structure.problem}")
    if format_ == "WEBP" and (cost := webp_cost(data)):
        _check_cost(cost, format_, limits)
    try:
        pixels = coded_pixels(data) if format_ == "AVIF" else 0
        # With the brand of a sequence, the decoder would not decode the picture that was checked.
        source = data[:8] + b"avif" + data[12:] if format_ == "AVIF" else data
        with Image.open(io.BytesIO(source), formats=(format_,)) as image:
            cost = decoding_cost(image, structure.scans)
            _check_cost(cost, format_, limits)
            if pixels > _MAX_CODED_SHARE * max(_MIN_CODED_PIXELS, image.width * image.height):
                raise PhotoError("undecodable", "the AVIF has larger pictures than its header says")
            yield format_, image, cost
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels("far more", limits) from None
    except Exception as error:  # Pillow's decoders raise any exception on damaged bytes
        if _ends_early(data, format_):
            raise PhotoError("truncated", f"the {format_} ends early: {_message(error)}") from error
        raise PhotoError("undecodable", f"the {format_} is damaged: {_message(error)}") from error


def _check_cost(cost: DecodingCost, format_: Format, limits: Limits) -> None:
    width, height, memory = cost
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"{width} × {height}", limits)
    size = f"{width:,} × {height:,} pixels"
    if max(width, height) > MAX_SIDE:
        raise PhotoError("too_many_pixels", f"{size}; expected at most {MAX_SIDE:,} a side")
    if memory > limits.max_memory:
        raise PhotoError(
            "too_many_pixels",
            f"{size} of this {format_} take {memory / 2**20:,.0f} MB to decode; at most "
            f"{limits.max_memory / 2**20:,.0f} MB are accepted. Make the photo smaller.",
        )


def _encode(picture: Image.Image, quality: int = JPEG_QUALITY, *, optimize: bool = False) -> bytes:
    buffer = io.BytesIO()
    picture.info.clear()
    picture.save(buffer, "JPEG", quality=quality, optimize=optimize)
    return buffer.getvalue()


def _message(error: Exception) -> str:
    """Return a reproducible message. Pillow's message for an unidentified image has a memory address."""
    if isinstance(error, UnidentifiedImageError):
        return "its header cannot be read"
    return " ".join(str(error).split()) or "its parts are inconsistent"


def _too_many_pixels(size: str, limits: Limits) -> PhotoError:
    detail = f"{size} pixels; at most {limits.max_pixels:,} are accepted"
    return PhotoError("too_many_pixels", detail)


def _ends_early(data: bytes, format_: Format) -> bool:
    if format_ == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    if format_ == "PNG":
        return b"IEND" not in data[-64:]
    if format_ != "WEBP":
        return iso_media_size(data) > len(data)
    return len(data) < int.from_bytes(data[4:8], "little") + 8
