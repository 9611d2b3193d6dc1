"""Damaged photo files."""

import io
import struct
import zlib
from random import Random

from fb_marketplace.sample.records import FileFault

_BOMB_SIDE = 30_000


def damage_file(fault: FileFault, variant: int, photo: bytes, random: Random) -> bytes:
    """Return the bytes of a file with a fault.

    Args:
        fault: the fault.
        variant: number of the variant of the fault.
        photo: the intact JPEG.
        random: source of randomness.
    """
    if fault == "empty":
        return b""
    if fault == "truncated":
        data = _convert(photo, "PNG") if variant % 2 else photo
        return data[: int(len(data) * random.uniform(0.2, 0.8))]
    if fault == "unsupported_format":
        return _convert(photo, "BMP" if variant % 2 else "GIF")
    if fault == "too_many_pixels":
        return _bomb(random.getrandbits(64))
    noise = random.randbytes(2048)
    token = noise[:8].hex()
    return (
        f"<html><body><h1>503 Service Unavailable</h1><p>{token}</p></body></html>\n".encode(),
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" + noise[:400],
        b"\x00\x01" + noise,
        f"photo to follow, ref {token}\n".encode(),
    )[variant % 4]


def _convert(photo: bytes, format_name: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as picture:
        picture.thumbnail((400, 400))
        picture.convert("RGB").save(buffer, format_name)
    return buffer.getvalue()


def _bomb(tag: int) -> bytes:
    """Return a valid one-bit PNG of a few hundred kilobytes that decodes to 900 million pixels."""
    packer = zlib.compressobj(9)
    lines = bytes(1 + (_BOMB_SIDE + 7) // 8) * 500
    data = b"".join(packer.compress(lines) for _ in range(_BOMB_SIDE // 500)) + packer.flush()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)),
        (b"tEXt", b"Comment\0" + f"{tag:016x}".encode()),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
