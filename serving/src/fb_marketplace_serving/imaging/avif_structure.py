"""Coded size of the pictures in an AVIF file, which may be larger than the size in the file's header.

The decoder decodes a picture at its coded size, then scales it to the size in the header: two kilobytes may
take half a gigabyte. So the headers of the pictures are read before the pictures are decoded.

The format is that of ISO/IEC 14496-12 and 23008-12; pictures are coded as in the AV1 specification, 5.5.
"""

from collections.abc import Iterator
from typing import Final

MAX_ITEMS: Final = 4096
"""Maximum boxes in a box, and maximum parts of all items. Large pictures have hundreds of tiles."""

MAX_UNITS: Final = 256
"""Maximum units of a picture."""

_SEQUENCE_HEADER: Final = 1
_FULL_BOX_BYTES: Final = 4


def coded_pixels(data: bytes) -> int:
    """Return the number of pixels in all coded pictures of an AVIF file.

    Raises:
        ValueError: the boxes or the headers of the pictures cannot be read.
    """
    try:
        meta = _box(data, b"meta")[_FULL_BOX_BYTES:]
        coded = _items_of_type(_box(meta, b"iinf"), b"av01")
        embedded = next((body for kind, body in _boxes(meta) if kind == b"idat"), b"")
        return sum(
            _max_pixels(content)
            for item, content in _contents(_box(meta, b"iloc"), data, embedded)
            if item in coded
        )
    except IndexError as error:
        raise ValueError("its boxes are truncated") from error


class _Bits:
    """Reads unsigned integers of any number of bits, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header of its pictures is truncated")
        return self._value >> self._left & ((1 << count) - 1)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and content of each box."""
    position = 0
    for _ in range(MAX_ITEMS + 1):
        if position + 8 > len(data):
            return
        size, start = int.from_bytes(data[position : position + 4], "big"), position + 8
        if size == 1:
            size, start = int.from_bytes(data[position + 8 : position + 16], "big"), position + 16
        end = position + size if size else len(data)
        if end < start:
            raise ValueError("a box is smaller than its header")
        yield data[position + 4 : position + 8], data[start:end]
        position = end
    raise ValueError(f"a box has more than {MAX_ITEMS:,} boxes")


def _box(data: bytes, kind: bytes) -> bytes:
    for name, body in _boxes(data):
        if name == kind:
            return body
    raise ValueError(f"it has no box {kind.decode()}")


def _items_of_type(iinf: bytes, kind: bytes) -> set[int]:
    """Return the ids of the items of a type."""
    result = set[int]()
    for _, infe in _boxes(iinf[_FULL_BOX_BYTES + (2 if iinf[0] == 0 else 4) :]):
        id_bytes = 4 if infe[0] > 2 else 2
        start = _FULL_BOX_BYTES + id_bytes + 2
        if infe[start : start + 4] == kind:
            result.add(int.from_bytes(infe[_FULL_BOX_BYTES:][:id_bytes], "big"))
    return result


def _contents(iloc: bytes, data: bytes, embedded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the id and content of each item."""
    version, sizes = iloc[0], int.from_bytes(iloc[4:6], "big")
    offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_bytes = sizes & 15 if version else 0
    position = 6

    def read(count: int) -> int:
        nonlocal position
        position += count
        if position > len(iloc):
            raise ValueError("its list of items is truncated")
        return int.from_bytes(iloc[position - count : position], "big")

    total = extents = 0
    for _ in range(read(4 if version > 1 else 2)):
        item = read(4 if version > 1 else 2)
        is_embedded = bool(version) and read(2) & 15 == 1
        read(2)  # another file, which decoders do not support
        source, base, parts = embedded if is_embedded else data, read(base_bytes), list[bytes]()
        count = read(2)
        extents += max(1, count)
        if extents > MAX_ITEMS:
            raise ValueError(f"its items have more than {MAX_ITEMS:,} parts")
        for _ in range(count):
            read(index_bytes)
            start = base + read(offset_bytes)
            length = read(length_bytes)
            part = source[start : start + length] if length else source[start:]
            total += len(part)
            if total > 2 * len(data):
                raise ValueError("its items overlap")
            parts.append(part)
        yield item, b"".join(parts)


def _max_pixels(content: bytes) -> int:
    """Return the largest number of pixels that a coded picture may have."""
    position, pixels = 0, 0
    for _ in range(MAX_UNITS):
        if position >= len(content):
            return pixels
        header, position = content[position], position + 1
        position += header >> 2 & 1  # extension
        size = len(content) - position
        if header >> 1 & 1:
            size, position = _leb128(content, position)
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            pixels = max(pixels, _sequence_pixels(content[position : position + size]))
        position += size
    raise ValueError(f"a picture has more than {MAX_UNITS:,} units")


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length, and the position after it."""
    value = 0
    for index in range(8):
        value |= (data[position + index] & 127) << 7 * index
        if data[position + index] < 128:
            return value, position + index + 1
    raise ValueError("a size of its pictures is too long")


def _sequence_pixels(header: bytes) -> int:
    """Return the largest number of pixels of a frame, from a sequence header."""
    bits = _Bits(header[:1024])
    bits.read(4)
    if bits.read(1):  # reduced header of a still picture
        bits.read(5)
    else:
        has_model, delay_bits = 0, 0
        if bits.read(1):
            bits.read(64)
            if bits.read(1):
                _skip_uvlc(bits)
            if has_model := bits.read(1):
                delay_bits = bits.read(5) + 1
                bits.read(42)
        has_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if has_model and bits.read(1):
                bits.read(2 * delay_bits + 1)
            if has_delay and bits.read(1):
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.read(1):
        zeros += 1
    if zeros < 32:
        bits.read(zeros)
