"""Hostile and unusual files with the expected response to each."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.files.image_bytes import (
    chunk,
    circling_exif,
    deflated_zeros,
    extended_webp,
    flat_webp,
    jpeg_segment,
    located_exif,
    picture,
    png,
    png_of_colour,
    resized_jpeg,
    vp8_header,
    webp,
    with_more_scans,
    written,
    ycck,
)

from fb_marketplace_serving.imaging import canonical

canonical.accepted_formats()  # registers the plugin of HEIC with Pillow

MOST_PIXELS = 64_000_000
SIDE_AT_CAP = 8000


class HostileFile(NamedTuple):
    """A file, the status that it gets, and which problems it may be told to be.

    Attributes:
        name: says what is wrong with it.
        data: the file.
        status: of HTTP.
        kinds: the last part of the problem's type; empty where it is read.
    """

    name: str
    data: bytes
    status: int
    kinds: tuple[str, ...] = ()


def hostile_files() -> Iterator[HostileFile]:
    """Give all of them, those that cost most last."""
    for part in (
        _no_photos,
        _truncated,
        _declared_bombs,
        _polyglots,
        _lying_headers,
        _metadata,
        _unusual,
        _many_parts,
        _real_bombs,
    ):
        yield from part()


def _no_photos() -> Iterator[HostileFile]:
    yield HostileFile("zero bytes", b"", 422, ("empty",))
    yield HostileFile("one byte", b"\xff", 415, ("not_an_image",))
    others = {
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "SVG that names a file": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM '
        b'"file:///etc/passwd">]><svg>&x;</svg>',
        "HTML": b"<html><script>alert(1)</script></html>",
        "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "ZIP": b"PK\x03\x04" + bytes(60),
        "executable": b"\x7fELF" + bytes(60),
        "PostScript": b"%!PS-Adobe-3.0\n(/etc/passwd) (r) file\n",
        "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
        "a link": b"http://127.0.0.1/photo.jpg",
        "a JPEG in base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgG",
        "a JPEG after a blank": b" " + written(picture(), "JPEG"),
    }
    for name, data in others.items():
        yield HostileFile(name, data, 415, ("not_an_image",))
    photo = written(picture(), "JPEG")
    formats = {
        "GIF": written(picture(), "GIF"),
        "GIF that moves": written(
            picture(), "GIF", save_all=True, append_images=[picture(mode="L")]
        ),
        "GIF before a JPEG": b"GIF89a" + photo,
        "TIFF": written(picture(), "TIFF"),
        "BMP": written(picture(), "BMP"),
        "MP4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(99),
        "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(99),
    }
    for name, data in formats.items():
        yield HostileFile(name, data, 415, ("unsupported_format",))


def _truncated() -> Iterator[HostileFile]:
    complete = {
        "JPEG": written(picture(), "JPEG"),
        "progressive JPEG": written(picture(), "JPEG", progressive=True),
        "PNG": written(picture(), "PNG"),
        "WebP": written(picture(), "WEBP"),
        "lossless WebP": written(picture(), "WEBP", lossless=True),
        "AVIF": written(picture(), "AVIF"),
        "HEIC": written(picture(), "HEIF"),
    }
    for name, data in complete.items():
        for tenth in range(1, 10):
            yield HostileFile(
                f"{name}, {tenth} tenths of it",
                data[: len(data) * tenth // 10],
                422,
                ("truncated",),
            )
    for name, magic in {
        "JPEG": b"\xff\xd8\xff",
        "PNG": b"\x89PNG\r\n\x1a\n",
        "WebP": b"RIFF\x00\x01\x00\x00WEBP",
    }.items():
        yield HostileFile(f"{name}, its first bytes only", magic, 422, ("truncated",))


def _declared_bombs() -> Iterator[HostileFile]:
    """Sizes that are only claimed, in a few hundred bytes."""
    few = zlib.compress(bytes(1000))
    bombs = {
        "PNG of 3.6 gigapixels": png(60_000, 60_000, rows=few),
        "PNG one column over": png(SIDE_AT_CAP + 1, SIDE_AT_CAP, rows=few),
        "PNG one pixel high": png(2**31 - 1, 1, rows=few),
        "PNG of 4 exapixels": png(2**31 - 1, 2**31 - 1, rows=few),
        "JPEG of 4 gigapixels": resized_jpeg(written(picture(), "JPEG"), 65_535, 65_535),
        "progressive JPEG of 4 gigapixels": resized_jpeg(
            written(picture(), "JPEG", progressive=True), 65_535, 65_535
        ),
        "lossless WebP of 268 megapixels": flat_webp(16_383, 16_383),
        "lossy WebP of 268 megapixels": webp(b"VP8 ", vp8_header(16_383, 16_383)),
        "WebP whose canvas is 268 megapixels": extended_webp(16_384, 16_384),
        "WebP whose canvas is 4 gigapixels": extended_webp(65_535, 65_535),
    }
    for name, data in bombs.items():
        yield HostileFile(name, data, 422, ("too_many_pixels", "undecodable"))
    canvas = extended_webp(2**24, 2**24)
    yield HostileFile("WebP of 2^48 pixels", canvas, 422, ("too_many_pixels", "undecodable"))


def _polyglots() -> Iterator[HostileFile]:
    archive = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)
    yield HostileFile("JPEG and ZIP", written(picture(), "JPEG") + archive, 200)
    page = b"<html><script>alert(1)</script></html>"
    yield HostileFile("PNG and HTML", written(picture(), "PNG") + page, 200)
    yield HostileFile("WebP and ZIP", written(picture(), "WEBP") + archive, 200)
    yield HostileFile(
        "JPEG that is a script",
        b"\xff\xd8" + jpeg_segment(0xFE, page) + written(picture(), "JPEG")[2:],
        200,
    )
    yield HostileFile("JPEG and JPEG", written(picture(), "JPEG") * 2, 200)
    yield HostileFile("PNG and PNG", written(picture(), "PNG") * 2, 200)
    first, second = written(picture(), "JPEG"), written(picture(mode="L"), "PNG")
    yield HostileFile(
        "JPEG header, PNG body", first[:20] + second, 422, ("undecodable", "truncated")
    )
    yield HostileFile(
        "PNG header, JPEG body", second[:8] + first, 422, ("undecodable", "truncated")
    )


def _lying_headers() -> Iterator[HostileFile]:
    photo, other = written(picture(), "JPEG"), written(picture(), "PNG")
    damaged = ("undecodable", "truncated")
    yield HostileFile("JPEG that says it is higher", resized_jpeg(photo, 160, 900), 200)
    yield HostileFile("JPEG that says it is lower", resized_jpeg(photo, 160, 40), 200)
    yield HostileFile("JPEG of no height", resized_jpeg(photo, 160, 0), 422, damaged)
    yield HostileFile("JPEG of no width", resized_jpeg(photo, 0, 120), 422, damaged)
    frame = photo.index(b"\xff\xc0")
    yield HostileFile(
        "JPEG of nine components",
        photo[: frame + 9] + b"\x09" + photo[frame + 10 :],
        422,
        damaged,
    )
    yield HostileFile(
        "JPEG with two frames",
        photo[:frame] + photo[frame : frame + 19] + photo[frame:],
        422,
        damaged,
    )
    for name, brand in (("HEIC", b"heic"), ("AVIF", b"avif")):
        data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(99)
        yield HostileFile(f"{name} of nothing", data, 422, damaged)
        high = written(picture(), name.replace("HEIC", "HEIF"), quality=50)
        size = struct.pack(">4sIII", b"ispe", 0, *picture().size)
        for side in (1, 40_000):
            lie = high.replace(size, struct.pack(">4sIII", b"ispe", 0, side, side))
            kinds = (*damaged, "too_many_pixels")
            status = 200 if (name, side) == ("AVIF", 1) else 422  # its picture is small
            yield HostileFile(f"{name} that says it has a side of {side}", lie, status, kinds)
    high = written(Image.new("RGB", (4000, 4000), (9, 99, 199)), "AVIF", speed=10)
    lie = high.replace(
        struct.pack(">4sIII", b"ispe", 0, 4000, 4000), struct.pack(">4sIII", b"ispe", 0, 64, 64)
    )
    yield HostileFile("AVIF of 16 megapixels that says it is small", lie, 422, ("undecodable",))
    header = other[:29] + b"\0\0\0\0" + other[33:]
    yield HostileFile("PNG whose header has a wrong sum", header, 422, damaged)
    yield HostileFile("PNG of no pixels", png(0, 0, rows=zlib.compress(b"")), 422, damaged)
    yield HostileFile("PNG of no such colour", png_of_colour(5), 422, damaged)
    yield HostileFile("PNG without rows", png(100, 100, rows=b""), 422, damaged)
    yield HostileFile(
        "PNG of too few rows", png(100, 100, rows=zlib.compress(bytes(9))), 422, damaged
    )
    yield HostileFile("PNG of far too many rows", png(9, 9, rows=deflated_zeros(200_000_000)), 200)
    yield HostileFile("PNG whose rows are no deflate", png(9, 9, rows=b"no" * 99), 422, damaged)
    long = other[:33] + b"\x7f\xff\xff\xff" + other[37:]
    yield HostileFile("PNG whose rows say they are two gigabytes", long, 200)
    palette = png(9, 9, 8, 3, before=chunk(b"PLTE", b"\1\2\3"))
    yield HostileFile("PNG of one colour in its palette", palette, 200)
    yield HostileFile("PNG without its palette", png(9, 9, 8, 3), 422, damaged)
    packed = written(picture(), "WEBP")
    for name, length in {"longer": len(packed) + 999, "endless": 2**32 - 9}.items():
        data = packed[:4] + struct.pack("<I", length) + packed[8:]
        yield HostileFile(f"WebP that says it is {name}", data, 422, ("truncated",))
    short = packed[:4] + struct.pack("<I", 100) + packed[8:]
    yield HostileFile("WebP that says it is shorter", short, 422, damaged)
    yield HostileFile("WebP of nothing", webp(b"VP8 ", b""), 422, damaged)
    yield HostileFile("WebP of an unknown kind", webp(b"EVIL", bytes(99)), 422, damaged)


def _metadata() -> Iterator[HostileFile]:
    exif = located_exif()
    for format_ in ("JPEG", "PNG", "WEBP"):
        yield HostileFile(
            f"{format_} that says where it was", written(picture(), format_, exif=exif), 200
        )
        noise = b"Exif\0\0" + np.random.default_rng(1).bytes(60_000)
        yield HostileFile(
            f"{format_} with EXIF of nonsense", written(picture(), format_, exif=noise), 200
        )
        profile = np.random.default_rng(2).bytes(50_000)
        data = written(picture(), format_, icc_profile=profile)
        yield HostileFile(f"{format_} with a profile of nonsense", data, 200)
    large = Image.Exif()
    large[0x9286] = b"x" * 65_000
    yield HostileFile("JPEG with EXIF of 65 KB", written(picture(), "JPEG", exif=large), 200)
    yield HostileFile("JPEG with EXIF that goes in circles", circling_exif(), 200)
    turned = Image.Exif()
    turned[0x0112] = 99
    yield HostileFile("JPEG turned 99 ways", written(picture(), "JPEG", exif=turned), 200)
    segments = b"".join(jpeg_segment(0xE1, bytes(65_000)) for _ in range(100))
    photo = written(picture(), "JPEG")
    yield HostileFile("JPEG with 6 MB of metadata", photo[:2] + segments + photo[2:], 200)
    comments = PngInfo()
    comments.add_text("Comment", "x" * 100_000, zip=True)
    yield HostileFile("PNG with a long comment", written(picture(), "PNG", pnginfo=comments), 200)
    huge = zlib.compress(bytes(100_000_000))
    for name in (b"zTXt", b"iCCP"):
        bomb = chunk(name, b"Comment\0\0" + huge)
        yield HostileFile(
            f"PNG with 100 MB in {name.decode()}", png(9, 9, before=bomb), 422, ("undecodable",)
        )
    bomb = chunk(b"iTXt", b"Comment\0\1\0\0\0" + huge)
    yield HostileFile("PNG with 100 MB in iTXt", png(9, 9, before=bomb), 422, ("undecodable",))
    many = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000))) * 100
    yield HostileFile(
        "PNG with 100 comments of 1 MB", png(9, 9, before=many), 422, ("undecodable",)
    )


def _unusual() -> Iterator[HostileFile]:
    """Unusual but valid photos."""
    grey = np.linspace(0, 65_535, 160 * 120).reshape(120, 160).astype(np.uint16)
    still = {
        "16-bit grey PNG": written(Image.fromarray(grey), "PNG"),
        "16-bit RGB PNG": png(40, 30, 16, 2),
        "16-bit RGBA PNG": png(40, 30, 16, 6),
        "16-bit grey and alpha PNG": png(40, 30, 16, 4),
        "1-bit PNG": written(picture(mode="1"), "PNG"),
        "2-bit PNG": png(41, 30, 2, 0),
        "grey PNG with alpha": written(picture(mode="LA"), "PNG"),
        "palette PNG": written(picture(mode="P"), "PNG"),
        "palette PNG with transparency": written(picture(mode="P"), "PNG", transparency=3),
        "RGB PNG with a transparent colour": written(picture(), "PNG", transparency=(1, 2, 3)),
        "grey PNG with a transparent shade": written(picture(mode="L"), "PNG", transparency=9),
        "16-bit PNG with a transparent shade": png(9, 9, 16, 0, before=chunk(b"tRNS", b"\0\1")),
        "CMYK JPEG": written(picture(mode="CMYK"), "JPEG"),
        "YCCK JPEG": ycck(),
        "grey JPEG": written(picture(mode="L"), "JPEG"),
        "progressive JPEG": written(picture(), "JPEG", progressive=True),
        "JPEG without chroma lost": written(picture(), "JPEG", subsampling=0),
        "JPEG with restarts": written(picture(), "JPEG", restart_marker_blocks=1),
        "MPO": written(picture(), "MPO", save_all=True, append_images=[picture(mode="L")]),
        "APNG": written(picture(), "PNG", save_all=True, append_images=[picture((160, 120), "L")]),
        "WebP that moves": written(
            picture(), "WEBP", save_all=True, append_images=[picture().rotate(90)] * 30
        ),
        "WebP with alpha": written(picture(mode="RGBA"), "WEBP"),
        "one pixel": written(picture((1, 1)), "PNG"),
        "a line across": written(picture((60_000, 1)), "PNG"),
        "a line down": written(picture((1, 60_000)), "JPEG"),
        "a line of WebP": written(picture((16_383, 1)), "WEBP"),
    }
    for name, data in still.items():
        yield HostileFile(name, data, 200)


def _many_parts() -> Iterator[HostileFile]:
    """Files with very many parts."""
    refused = ("undecodable",)
    photo = written(picture(), "JPEG")
    for name, part in {
        "comments": chunk(b"tEXt", b"a\0b"),
        "unknown chunks": chunk(b"quIt"),
    }.items():
        yield HostileFile(
            f"PNG with 100,000 {name}", png(9, 9, before=part * 100_000), 422, refused
        )
    empty = chunk(b"IDAT") * 2_500_000
    yield HostileFile("PNG with 2.5 million empty rows", png(9, 9, before=empty), 422, refused)
    for name, part in {
        "segments": jpeg_segment(0xFE, b""),
        "filling bytes": b"\xff" * 4,
        "bytes of junk": b"\x07" * 4,
        "escaped bytes": b"\xff\x00" * 2,
    }.items():
        data = photo[:20] + part * 7_500_000 + photo[20:]
        yield HostileFile(f"JPEG with 30 MB of {name}", data, 422, refused)
    scans = with_more_scans(written(picture(), "JPEG", progressive=True), 5000)
    yield HostileFile("progressive JPEG with 5,000 scans", scans, 422, refused)
    flat = written(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True, quality=10)
    yield HostileFile(
        "progressive JPEG of 16 megapixels with 5,000 scans",
        with_more_scans(flat, 5000),
        422,
        refused,
    )


def _real_bombs() -> Iterator[HostileFile]:
    """As many pixels as are accepted, more than that, and more than fit into memory, in a few kilobytes."""
    side = SIDE_AT_CAP
    over = ("too_many_pixels",)
    yield HostileFile("PNG of 64,008,000 pixels", png(side + 1, side), 422, over)
    transparent = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(200))
    names = {
        "RGB": (8, 2, b"", 200),
        "16-bit RGB": (16, 2, b"", 200),
        "16-bit grey": (16, 0, b"", 200),
        "1-bit": (1, 0, b"", 200),
        "RGBA": (8, 6, b"", 422),
        "16-bit RGBA": (16, 6, b"", 422),
        "grey and alpha": (8, 4, b"", 422),
        "palette": (8, 3, transparent, 422),
    }
    for name, (depth, colour, before, status) in names.items():
        data = png(side, side, depth, colour, before=before)
        kinds = over if status == 422 else ()
        yield HostileFile(f"{name} PNG of 64 megapixels", data, status, kinds)
    photo = Image.new("RGB", (side, side), (9, 99, 199))
    yield HostileFile("JPEG of 64 megapixels", written(photo, "JPEG"), 200)
    progressive = written(photo, "JPEG", progressive=True)
    yield HostileFile("progressive JPEG of 64 megapixels", progressive, 200)
    data = with_more_scans(progressive, 15)
    yield HostileFile("JPEG of 64 megapixels with 15 more scans", data, 422, ("undecodable",))
    data = written(photo, "JPEG", progressive=True, subsampling=0)
    yield HostileFile("progressive JPEG of 64 megapixels, full colour", data, 422, over)
    for name, data in {
        "WebP of 16 megapixels": flat_webp(4000, 4000),
        "WebP with alpha of 16 megapixels": flat_webp(4000, 4000, 99),
    }.items():
        yield HostileFile(name, data, 200)
    for name, data in {
        "WebP of 64 megapixels": flat_webp(side, side),
        "WebP with alpha of 64 megapixels": flat_webp(side, side, 99),
        "WebP of 64,008,000 pixels": flat_webp(side + 1, side),
        "WebP of 90 bytes whose canvas is 64 megapixels": extended_webp(side, side - 1),
        "PNG of one column": png(1, 15_999_999),
        "PNG of one row": png(15_999_999, 1),
        "PNG of one column, side one over": png(1, 65_536),
    }.items():
        yield HostileFile(name, data, 422, over)
    yield HostileFile("PNG of the longest column", png(1, 65_535), 200)
    yield HostileFile("JPEG of 64 megapixels without its end", written(photo, "JPEG")[:-2], 200)
    yield HostileFile(
        "JPEG of 64 megapixels, cut", written(photo, "JPEG")[:-4], 422, ("truncated",)
    )
    yield HostileFile("AVIF of 64 megapixels", written(photo, "AVIF", speed=10), 422, over)
