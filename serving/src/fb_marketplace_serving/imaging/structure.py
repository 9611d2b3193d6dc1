"""Structure of image files, checked before they are decoded.

Decoders process any number of segments and junk bytes: a few megabytes of either keep them busy for
minutes. These checks reject, in milliseconds, structures that no camera or editor writes.
"""

import re
from typing import Final, NamedTuple

MAX_SCANS: Final = 100
"""Maximum scans of a JPEG. Progressive JPEGs have about ten. Each scan covers all pixels again
(libjpeg-turbo warns of such files in "Two issues with the JPEG standard", and its fuzzers stop at 500)."""

MAX_SCANNED_PIXELS: Final = 1_000_000_000
"""Maximum pixels of a JPEG times its scans: about three seconds. 15 scans of 64 megapixels."""

MAX_SEGMENTS: Final = 4096
"""Maximum segments of a JPEG. Metadata of 32 megabytes fill 512 segments of 64 kilobytes."""

MAX_JUNK_BYTES: Final = 4096
"""Maximum bytes before the first scan of a JPEG that belong to no segment."""

MAX_CHUNKS: Final = 16_384
"""Maximum chunks of a PNG. libpng writes chunks of 8 kilobytes: 4,096 of them are 32 megabytes."""

MAX_BOXES: Final = 1000
"""Maximum boxes of an ISO media file that are added up."""

_MARKER: Final = re.compile(rb"\xff[^\xff\x00]")
_MARKER_IN_SCAN: Final = re.compile(rb"\xff[^\xff\x00\xd0-\xd7]")
"""Marker that ends a scan. Restart markers are part of the scan."""

_BARE: Final = frozenset([0x01, *range(0xD0, 0xDA)])
"""Markers without a body."""

_END, _SCAN = 0xD9, 0xDA

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers, which have the size."""

END_OF_IMAGE: Final = b"\xff\xd9"

_FRAME_BYTES: Final = 9
_SCAN_BYTES: Final = 6
_COEFFICIENTS: Final = 64
_ALL_BITS: Final = 16


class Structure(NamedTuple):
    """Structure of an image file.

    Attributes:
        problem: why the structure is implausible; None if it is plausible.
        scans: number of scans of a JPEG.
    """

    problem: str | None
    scans: int = 0


def check_jpeg_structure(data: bytes) -> Structure:
    """Check the structure of a JPEG (ITU-T T.81, annex B)."""
    position, segments, scans, junk, pixels = 2, 0, 0, 0, 0
    while match := (_MARKER_IN_SCAN if scans else _MARKER).search(data, position):
        if not scans:
            junk += match.start() - position
        segments += 1
        if junk > MAX_JUNK_BYTES:
            return Structure(f"more than {MAX_JUNK_BYTES:,} bytes of junk before its picture")
        if segments > MAX_SEGMENTS:
            return Structure(f"more than {MAX_SEGMENTS:,} segments")
        marker, position = data[match.end() - 1], match.end()
        if marker == _SCAN:
            scans += 1
        elif scans and marker == _END:
            break
        elif marker in _FRAMES:
            height = int.from_bytes(data[position + 3 : position + 5], "big")
            width = int.from_bytes(data[position + 5 : position + 7], "big")
            pixels = max(pixels, height * width)
        if scans > (limit := min(MAX_SCANS, max(1, MAX_SCANNED_PIXELS // max(1, pixels)))):
            return Structure(f"more than {limit:,} scans of {pixels:,} pixels")
        if marker not in _BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    if not scans and len(data) - position > MAX_JUNK_BYTES:
        return Structure(f"more than {MAX_JUNK_BYTES:,} bytes of junk and no picture")
    return Structure(None, scans)


def scans_without_end(data: bytes) -> bytes | None:
    """Return the bytes of a JPEG up to the end of its last scan, if only its end marker is missing.

    Returns:
        The bytes; None if there is an end marker, or if the scans do not cover all bits of all components
        (ITU-T T.81, annex G). Whether the last scan itself is complete is not checked.
    """
    position, missing = 2, dict[tuple[int, int], int]()
    pattern = _MARKER
    while match := pattern.search(data, position):
        marker, position = data[match.end() - 1], match.end()
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if marker == _END:
            return None
        if marker in _FRAMES and len(body) >= _FRAME_BYTES:
            missing = {
                (component, index): _ALL_BITS
                for component in body[6::3][: body[5]]
                for index in range(_COEFFICIENTS)
            }
        elif marker == _SCAN and len(body) >= _SCAN_BYTES:
            pattern = _MARKER_IN_SCAN
            first, last, bits = body[-3], body[-2], body[-1] & 0x0F
            for component in body[1:-3:2]:
                missing |= {(component, index): bits for index in range(first, last + 1)}
        if marker not in _BARE:
            position += max(2, length)
    return data.rstrip(b"\xff") if missing and not any(missing.values()) else None


def iso_media_brands(data: bytes) -> frozenset[bytes]:
    """Return the brands of an ISO media file, such as AVIF and HEIC; empty for other bytes."""
    if data[4:8] != b"ftyp":
        return frozenset()
    size = min(int.from_bytes(data[:4], "big"), 256)
    return frozenset([data[8:12], *(data[start : start + 4] for start in range(16, size - 3, 4))])


def iso_media_size(data: bytes) -> int:
    """Return the total size of the boxes of an ISO media file; larger than the file if it is truncated."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            break
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 0:  # up to the end of the file
            return len(data)
        position += max(8, size)
    return position


def check_png_structure(data: bytes) -> Structure:
    """Check that a PNG does not have implausibly many chunks."""
    position = 8
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data) or data[position + 4 : position + 8] == b"IEND":
            return Structure(None)
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return Structure(f"more than {MAX_CHUNKS:,} chunks")


def is_plain_jpeg(data: bytes, side: int) -> bool:
    """Check whether a JPEG has the structure of a canonical photo (ITU-T T.81, annex B).

    It is baseline and square, with three components, a plain JFIF header, no other metadata and no bytes
    after its end.
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
            sides = side.to_bytes(2, "big") * 2
            if seen_frame or body[:6] != b"\x08" + sides + b"\x03":
                return False
            seen_frame = True
        elif marker == _SCAN:
            end = data.find(b"\xff\xd9", position)
            return seen_header and seen_frame and end == len(data) - 2
        elif marker not in (0xC4, 0xDB, 0xDD):
            return False
        position += 2 + length
    return False
