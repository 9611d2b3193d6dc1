"""Image files written byte by byte, with arbitrary contents."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SECRET_PLACE = "51.0300N-7.0739W"
"""Stands in the metadata of some files: it may be neither kept nor told."""


def picture(size: tuple[int, int] = (160, 120), mode: str = "RGB") -> Image.Image:
    """Draw a picture that no coder makes small."""
    noise = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def written(image: Image.Image, format_: str, **options: object) -> bytes:
    """Write an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def located_exif() -> bytes:
    """Return EXIF with place and author."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x013B] = SECRET_PLACE
    exif[0x8825] = {1: "N", 2: (51.0, 1.0, 48.0), 3: "W", 4: (7.0, 4.0, 26.0), 29: SECRET_PLACE}
    return exif.tobytes()


def chunk(name: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    """Make a chunk of a PNG."""
    checked = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checked)


def png(
    width: int,
    height: int,
    depth: int = 8,
    colour: int = 2,
    rows: bytes | None = None,
    before: bytes = b"",
) -> bytes:
    """Make a PNG of one colour by hand: what is all zeros but for ``rows`` packs a thousandfold.

    Args:
        width: in pixels.
        height: in pixels.
        depth: bits of a channel.
        colour: type of colour, as the PNG specification numbers them.
        rows: the deflated rows; without it, of as many zeros as the size asks for.
        before: chunks that come before the rows.
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if rows is None:
        rows = deflated_zeros((-(-width * depth * channels // 8) + 1) * height)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + before
        + chunk(b"IDAT", rows)
        + chunk(b"IEND")
    )


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """Make a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """Change the size that a JPEG says it has."""
    frame = min(result for result in (data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) if result > 0)
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def with_more_scans(data: bytes, count: int) -> bytes:
    """Repeat the last scan of a JPEG, as its decoder may be made to go over all pixels again for each."""
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * count + data[end:]


def webp(kind: bytes, body: bytes) -> bytes:
    """Make a WebP of one chunk."""
    part = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(part) + 4) + b"WEBP" + part


def extended_webp(width: int, height: int) -> bytes:
    """Make a WebP that says how large its canvas is, and has a small picture."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x00\0\0\0" + size
    inside = canvas + written(picture(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(inside) + 4) + b"WEBP" + inside


def deflated_zeros(count: int) -> bytes:
    """Deflate so many zeros, a block of them once: half a gigabyte costs nothing to make."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    complete, rest = divmod(count, 1 << 20)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = deflate.compress(bytes(rest)) + deflate.flush()
    adler = (count % 65_521) << 16 | 1
    return b"\x78\xda" + block * complete + last + struct.pack(">I", adler)


def flat_webp(width: int, height: int, alpha: int = 255) -> bytes:
    """Make a lossless WebP of one colour: its codes have one symbol each, and its pixels no bits at all."""
    bits, place = 0, 0
    fields = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (int(alpha < 255), 1), (0, 3)]
    fields += [(0, 1)] * 3  # no transform, no cache of colours, no further codes
    for symbol in (99, 199, 9, alpha):
        fields += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    fields += [(1, 1), (0, 1), (0, 1), (0, 1)]
    for value, width_ in fields:
        bits |= value << place
        place += width_
    return webp(b"VP8L", bits.to_bytes(-(-place // 8), "little"))


def vp8_header(width: int, height: int) -> bytes:
    data = written(picture(), "WEBP")
    body = bytearray(data[20:])
    body[6:10] = struct.pack("<HH", width, height)
    return bytes(body)


def png_of_colour(colour: int) -> bytes:
    header = struct.pack(">IIBBBBB", 9, 9, 8, colour, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(99)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND")


def ycck() -> bytes:
    """Say of a CMYK JPEG, in Adobe's marker, that it is YCCK."""
    data = bytearray(written(picture(mode="CMYK"), "JPEG"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def circling_exif() -> bytes:
    """EXIF with circular directories."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    directory = struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory
    photo = written(picture(), "JPEG")
    return photo[:2] + jpeg_segment(0xE1, exif) + photo[2:]
