import io
import pickle
import re
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image
from support.files.icc_profiles import DISPLAY_P3, rgb_profile

from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.canonical import Limits, PhotoError

canonical.accepted_formats()  # registers the plugin of HEIC with Pillow, to write test photos too

FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"]

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)
JPEG_NOISE = 12
"""How far JPEG may carry a flat colour."""


def encoded(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def scene(width=300, height=200):
    """A photo no two orientations of which look alike."""
    image = Image.new("RGB", (width, height), (40, 90, 160))
    image.paste((230, 60, 40), (0, 0, width // 2, height // 2))
    image.paste((240, 230, 60), (0, height // 2, width // 4, height))
    return image


@cache
def grain(size):
    """Draw noise, the same each time: of some photos the last bytes are only filling."""
    drawn = np.random.default_rng(1).normal(128, 80, size[::-1])
    return Image.fromarray(drawn.clip(0, 255).astype(np.uint8))


def noise(format_):
    """A photo of random pixels: every byte matters."""
    return encoded(grain((300, 200)).convert("RGB"), format_)


def seen(data):
    """The pixels of the canonical photo of an upload, wide enough to subtract."""
    return canonical.decode_canonical(canonical.canonicalize(data)).astype(int)


def centre(data):
    return seen(data)[128, 128]


def reason(data, limits=None):
    with pytest.raises(PhotoError) as caught:
        canonical.read_photo(data, limits)
    return caught.value.reason


def outcome(data):
    """Whether an upload is read, or for which reason it is not; any other error is a fault."""
    try:
        canonical.read_photo(data)
    except PhotoError as error:
        return error.reason
    return "read"


def assert_alike(result, expected):
    assert np.abs(result - np.asarray(expected)).max() <= JPEG_NOISE


def png_header_claiming(width, height):
    """A PNG of a few bytes whose header declares many pixels."""
    chunk = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + chunk
    header = struct.pack(">I", len(chunk)) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + encoded(scene())[33:]


@pytest.mark.parametrize("format_", FORMATS)
def test_read_decodes_each_format_and_names_it(format_):
    photo = canonical.read_photo(encoded(scene(), format_))

    assert (photo.format, photo.width, photo.height) == (format_, 300, 200)
    assert canonical.decode_canonical(photo.jpeg).shape == (256, 256, 3)
    assert canonical.decode_canonical(photo.jpeg).dtype == np.uint8


@pytest.mark.parametrize(
    ("image", "format_", "colour"),
    [
        (Image.new("RGB", (64, 64), RED), "PNG", RED),
        (Image.new("L", (64, 64), 180), "PNG", (180, 180, 180)),
        (Image.new("L", (64, 64), 180), "JPEG", (180, 180, 180)),
        (Image.new("1", (64, 64), 1), "PNG", WHITE),
        (Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", RED),
        (Image.new("RGBA", (64, 64), (*RED, 0)), "PNG", WHITE),
        (Image.new("RGBA", (64, 64), (*RED, 255)), "WEBP", RED),
        (Image.new("RGBA", (64, 64), (*RED, 128)), "PNG", (255, 127, 127)),
        (Image.new("LA", (64, 64), (0, 0)), "PNG", WHITE),
        (Image.new("LA", (64, 64), (90, 255)), "PNG", (90, 90, 90)),
        (Image.new("I;16", (64, 64), 180 * 256), "PNG", (180, 180, 180)),
        (Image.new("P", (64, 64), 0), "PNG", BLACK),
    ],
    ids=[
        "RGB",
        "grey",
        "grey JPEG",
        "bilevel",
        "CMYK",
        "RGBA seen through",
        "RGBA WebP opaque",
        "RGBA half",
        "LA seen through",
        "LA opaque",
        "16-bit grey",
        "palette",
    ],
)
def test_every_mode_becomes_rgb_over_white(image, format_, colour):
    assert_alike(centre(encoded(image, format_)), colour)


def test_transparent_palette_entry_becomes_white():
    image = Image.new("P", (64, 64), 3)
    image.putpalette([0, 0, 0] * 3 + [10, 20, 30])

    assert_alike(centre(encoded(image, transparency=3)), WHITE)
    assert_alike(centre(encoded(image)), (10, 20, 30))


def test_transparent_color_of_rgb_png_becomes_white():
    data = encoded(Image.new("RGB", (64, 64), RED), transparency=RED)

    assert_alike(centre(data), WHITE)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])  # HEIC has its own property
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format_, orientation):
    upright = scene()
    turn_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turn_back[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    result = seen(encoded(stored, format_, exif=exif))

    assert np.abs(result - seen(encoded(upright))).mean() < 2


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_invalid_orientation_is_ignored(format_):
    exif = Image.Exif()
    exif[0x0112] = 99

    result = seen(encoded(scene(), format_, exif=exif))

    assert np.abs(result - seen(encoded(scene()))).mean() < 2


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied_despite_damaged_exif(format_):
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    text_for_a_number = struct.pack("<HHI4s", 0x0111, 2, 4, b"abcd")
    directory = struct.pack("<H", 2) + text_for_a_number + orientation + bytes(4)
    exif = b"Exif\x00\x00II*\x00" + struct.pack("<I", 8) + directory
    stored = scene().transpose(Image.Transpose.ROTATE_90)

    result = seen(encoded(stored, format_, exif=exif))

    assert np.abs(result - seen(encoded(scene()))).mean() < 2


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_photo_with_unreadable_exif_is_read_as_stored(format_):
    result = seen(encoded(scene(), format_, exif=b"Exif\x00\x00II*\x00"))

    assert np.abs(result - seen(encoded(scene()))).mean() < 2


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF"])
def test_first_frame_of_animation_is_used(format_):
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, (0, 0, 255))]

    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], lossless=True)

    assert_alike(centre(data), RED)


@pytest.mark.parametrize(
    ("size", "content"),
    [
        ((400, 200), (64, 0, 192, 256)),
        ((200, 400), (0, 64, 256, 192)),
        ((300, 300), (0, 0, 256, 256)),
        ((64, 32), (64, 0, 192, 256)),
        ((1, 1), (0, 0, 256, 256)),
    ],
)
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_photo_is_letterboxed_on_black(size, content, format_):
    top, left, bottom, right = content
    result = seen(encoded(Image.new("RGB", size, WHITE), format_))

    bars = result.copy()
    # Eight pixels about the edge are the JPEG's blocks, which know both sides.
    bars[max(0, top - 8) : bottom + 8, max(0, left - 8) : right + 8] = 0
    assert bars.max() <= JPEG_NOISE
    assert result[top + 8 : bottom - 8, left + 8 : right - 8].min() >= 255 - JPEG_NOISE


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_one_pixel_line_stays_one_pixel(size):
    result = seen(encoded(Image.new("RGB", size, WHITE)))

    assert result.shape == (256, 256, 3)
    assert result.max() > 100


def test_canonical_photo_is_returned_unchanged():
    for image in (scene(), scene(200, 300), Image.effect_noise((500, 500), 90)):
        once = canonical.canonicalize(encoded(image))

        assert canonical.canonicalize(once) == once


def test_canonical_photo_has_no_metadata():
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = encoded(
        scene(), "JPEG", exif=exif, comment=b"secret", icc_profile=b"secret" * 20, dpi=(300, 300)
    )
    assert b"secret" in data

    jpeg = canonical.canonicalize(data)

    assert b"secret" not in jpeg
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert not image.getexif()


@pytest.mark.parametrize(
    "options",
    [
        {"comment": b"secret"},
        {"exif": b"Exif\x00\x00secret"},
        {"progressive": True},
        {"icc_profile": b"secret" * 20},
    ],
    ids=["comment", "exif", "progressive", "profile"],
)
def test_lookalike_of_canonical_photo_is_reencoded(options):
    data = encoded(scene(256, 256), "JPEG", **options)

    jpeg = canonical.canonicalize(data)

    assert jpeg != data
    assert b"secret" not in jpeg
    assert canonical.canonicalize(jpeg) == jpeg


@pytest.mark.parametrize("tail", [b"\x00", b"secret", b"PK\x03\x04secret\xff\xd9"])
def test_trailing_bytes_are_dropped(tail):
    once = canonical.canonicalize(encoded(scene()))

    again = canonical.canonicalize(once + tail)

    assert b"secret" not in again
    assert canonical.canonicalize(again) == again


def test_canonical_photo_without_end_is_truncated():
    once = canonical.canonicalize(encoded(grain((300, 300))))

    assert reason(once[: len(once) // 2]) == "truncated"


JPEG_KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "all chroma": {"subsampling": 0, "quality": 100},
    "few bits": {"optimize": True, "quality": 20},
}


@pytest.mark.parametrize("kind", JPEG_KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_that_lacks_only_its_end_is_read(kind, mode):
    photo = grain((333, 77)).convert(mode)
    data = encoded(photo, "JPEG", **JPEG_KINDS[kind])
    end = len(data) - len(b"\xff\xd9")
    expected = canonical.read_photo(data)

    assert canonical.read_photo(data[:end]) == canonical.read_photo(data[: end + 1]) == expected
    for missing in (1, 2, 3, 5, 8, 20, 300):
        assert reason(data[: end - missing]) == "truncated"


def test_progressive_jpeg_that_lacks_whole_scans_is_truncated():
    data = encoded(grain((300, 200)), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff[\xc4\xda]", data)]

    for start in scans[2:]:
        assert reason(data[:start]) == "truncated"


def test_large_jpeg_without_end_is_not_decoded_again_and_again(monkeypatch):
    data = encoded(grain((300, 200)), "JPEG", progressive=True)
    scans = canonical.check_jpeg_structure(data).scans
    monkeypatch.setattr(canonical, "MAX_COMPARED_PIXELS", 300 * 200 * scans)
    assert canonical.read_photo(data[:-2]) == canonical.read_photo(data)
    monkeypatch.setattr(canonical, "MAX_COMPARED_PIXELS", 300 * 200 * scans - 1)

    assert reason(data[:-2]) == "truncated"


def test_canonical_photo_without_end_is_restored():
    once = canonical.canonicalize(encoded(scene()))

    assert canonical.canonicalize(once[:-2]) == once
    assert reason(once[:-3]) == "truncated"


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("tenth", range(10))
def test_file_cut_anywhere_is_truncated(format_, tenth):
    data = noise(format_)
    cut = data[: len(data) * tenth // 10]

    assert outcome(cut) in {"empty", "truncated"}


@pytest.mark.parametrize("format_", FORMATS)
def test_damaged_file_gives_photo_or_photo_error(format_):
    data = encoded(grain((100, 80)).convert("RGB"), format_)
    random = np.random.default_rng(0)

    for _ in range(150):
        damaged = bytearray(data)
        for position in random.integers(12, len(data), 6):
            damaged[position] = random.integers(256)
        assert outcome(bytes(damaged)) in {"read", *canonical.REASONS}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"dear sir, ", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (encoded(scene(), "GIF"), "unsupported_format"),
        (encoded(scene(), "TIFF"), "unsupported_format"),
        (encoded(scene(), "BMP"), "unsupported_format"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(20), "unsupported_format"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "undecodable"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(20), "undecodable"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(100) + b"\xff\xd9", "undecodable"),
    ],
    ids=[
        "nothing",
        "text",
        "SVG",
        "GIF",
        "TIFF",
        "BMP",
        "MP4",
        "HEIC",
        "AVIF",
        "three bytes",
        "rubbish",
    ],
)
def test_rejection_names_reason(data, expected):
    assert reason(data) == expected


def test_heic_without_its_plugin_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(canonical, "_can_read_heif", lambda: False)

    with pytest.raises(
        PhotoError, match=r"HEIC; .* AVIF are accepted\. The extra `heif`"
    ) as caught:
        canonical.read_photo(encoded(scene(), "HEIF"))

    assert caught.value.reason == "unsupported_format"


MAGIC_BYTES = {"JPEG": 3, "PNG": 8, "WEBP": 12, "AVIF": 12, "HEIF": 12}


@pytest.mark.parametrize("format_", MAGIC_BYTES)
@pytest.mark.parametrize("more", range(4, 21))
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9 IEND"], ids=["cut", "with an end"])
def test_broken_header_message_is_deterministic(format_, more, ending):
    data = noise(format_)[: MAGIC_BYTES[format_] + more] + ending
    details = []
    # Other objects alive between the reads, so that no two buffers share an address.
    remaining = []
    for _ in range(2):
        with pytest.raises(PhotoError) as caught:
            canonical.read_photo(data)
        details.append(caught.value.detail)
        remaining.append(caught)

    assert details[0] == details[1]
    assert "0x" not in details[0]


def test_file_over_max_bytes_is_rejected():
    data = encoded(scene())

    assert reason(data, Limits(max_bytes=len(data) - 1)) == "oversized"
    assert canonical.read_photo(data, Limits(max_bytes=len(data))).width == 300


@pytest.mark.parametrize("side", [9_000, 16_000, 60_000, 2**31 - 1])
def test_decompression_bomb_is_rejected_before_decoding(side, monkeypatch):
    data = png_header_claiming(side, side)

    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)

    assert reason(data) == "too_many_pixels"


def test_decode_canonical_rejects_other_photos():
    with pytest.raises(ValueError, match="256 × 256 RGB"):
        canonical.decode_canonical(encoded(scene(), "JPEG"))


@pytest.mark.parametrize(
    "subsampling", [0, 1, 2], ids=["full colour", "half colour", "quarter colour"]
)
def test_decode_upload_of_canonical_photo_equals_decode_stretched(subsampling):
    buffer = io.BytesIO()
    letterboxed = Image.new("RGB", (256, 256))
    letterboxed.paste(scene().convert("RGB").resize((256, 160)), (0, 48))
    letterboxed.save(buffer, "JPEG", quality=80, subsampling=subsampling)
    data = buffer.getvalue()
    assert canonical.canonicalize(data) == data

    assert (canonical.decode_upload(data) == canonical.decode_stretched(data)).all()


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_decode_upload_of_other_photo_equals_its_canonical_photo(format_):
    data = encoded(scene(), format_)

    expected = canonical.decode_stretched(canonical.canonicalize(data))
    assert (canonical.decode_upload(data) == expected).all()


def test_decode_upload_restores_end_of_canonical_photo():
    data = canonical.canonicalize(encoded(scene(), "JPEG"))

    assert (canonical.decode_upload(data[:-2]) == canonical.decode_stretched(data)).all()


def test_decode_upload_of_damaged_canonical_photo_is_rejected():
    data = canonical.canonicalize(encoded(scene(), "JPEG"))
    # Without quantization tables.
    damaged = data[: data.index(b"\xff\xdb")] + data[data.index(b"\xff\xc0") :]

    with pytest.raises(canonical.PhotoError) as rejected:
        canonical.decode_upload(damaged)
    with pytest.raises(canonical.PhotoError) as expected:
        canonical.canonicalize(damaged)
    assert str(rejected.value) == str(expected.value)


def test_photo_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(PhotoError("truncated", "the JPEG ends early")))

    assert (error.reason, error.detail) == ("truncated", "the JPEG ends early")


# Display renditions


def display(data, side=1024, max_bytes=200 * 1024):
    rendition = canonical.read_photo(data, None, canonical.DisplaySize(side, max_bytes)).display
    return rendition, Image.open(io.BytesIO(rendition))


@pytest.mark.parametrize("format_", FORMATS)
def test_display_fits_its_side_and_keeps_its_shape(format_):
    data = encoded(scene(1500, 1000), format_)
    _, image = display(data)

    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1024, 683))
    assert_alike(np.asarray(image)[100, 100], (230, 60, 40))
    assert canonical.read_photo(data).display is None


def test_small_photo_is_not_enlarged_for_display():
    assert display(encoded(scene(30, 20)))[1].size == (30, 20)


def test_canonical_photo_has_no_display():
    stored = canonical.canonicalize(encoded(scene()))

    assert canonical.read_photo(stored, None, canonical.DisplaySize()).display is None


@pytest.mark.parametrize("max_bytes", [200 * 1024, 60 * 1024, 16 * 1024])
def test_display_has_bounded_bytes(max_bytes):
    data, image = display(encoded(grain((1000, 1000)).convert("RGB")), max_bytes=max_bytes)

    assert len(data) <= max_bytes
    assert image.size[0] == image.size[1]


def test_display_is_upright_without_metadata():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera of a seller"
    upright = scene(400, 600)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    for format_ in ("JPEG", "PNG", "WEBP"):
        data, image = display(encoded(stored, format_, exif=exif), side=300)

        assert image.size == (200, 300)
        assert_alike(np.asarray(image)[20, 20], (230, 60, 40))
        assert not image.getexif()
        assert b"seller" not in data


def test_display_shrunk_for_its_bytes_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = grain((900, 600)).convert("RGB")
    _, image = display(encoded(noise, "JPEG", exif=exif, quality=95), max_bytes=16 * 1024)

    assert image.height > image.width


@pytest.mark.parametrize(
    ("image", "format_", "colour"),
    [
        (Image.new("L", (64, 64), 180), "JPEG", (180, 180, 180)),
        (Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", RED),
        (Image.new("RGBA", (64, 64), (*RED, 0)), "PNG", WHITE),
        (Image.new("I;16", (64, 64), 180 * 256), "PNG", (180, 180, 180)),
    ],
)
def test_display_of_every_mode_is_rgb_over_white(image, format_, colour):
    assert_alike(np.asarray(display(encoded(image, format_))[1])[32, 32], colour)


def test_display_is_converted_from_its_profile_as_the_canonical_photo():
    plain = Image.new("RGB", (256, 256), (200, 90, 30))
    data = encoded(plain, icc_profile=rgb_profile(DISPLAY_P3))
    _, image = display(data)

    assert_alike(np.asarray(image)[128, 128], centre(data))
    assert np.abs(centre(data) - (200, 90, 30)).max() > JPEG_NOISE
    assert "icc_profile" not in image.info
