import io

import pytest
from PIL import Image

from fb_marketplace.evaluation.contact_sheet import FRAME, GAP, SIDE, Cell, contact_sheet


def opened(sheet):
    return Image.open(io.BytesIO(sheet), formats=("PNG",)).convert("RGB")


def painted(colour, size=(40, 40), format_="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)
    return buffer.getvalue()


def test_cells_are_in_row_order():
    colours = ("#ff0000", "#00ff00", "#0000ff")
    sheet = opened(contact_sheet([Cell(painted(item), "") for item in colours], 2, "three"))

    middles = [GAP + SIDE // 2, GAP + (SIDE + GAP) + SIDE // 2]
    seen = {sheet.getpixel((x, y)) for x in middles for y in range(sheet.height)}
    assert {(255, 0, 0), (0, 255, 0), (0, 0, 255)} <= seen
    left = [sheet.getpixel((middles[0], y)) for y in range(sheet.height)]
    assert left.index((255, 0, 0)) < left.index((0, 0, 255))
    assert (0, 255, 0) not in left


def test_frame_surrounds_its_picture():
    framed = [Cell(painted("#ff0000"), "", "#00ff00"), Cell(painted("#ff0000"), "")]
    row = [opened(contact_sheet(framed, 2, "")).getpixel((x, 100)) for x in range(2 * SIDE + 24)]

    assert row.count((0, 255, 0)) == 2 * FRAME
    assert row.index((0, 255, 0)) == GAP - FRAME
    assert row[GAP : GAP + SIDE] == row[2 * GAP + SIDE : 2 * (GAP + SIDE)]


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xd8\xff\xe0" + bytes(100), b"\x89PNG\r\n\x1a\n", bytes(range(256))],
    ids=["empty", "html", "jpeg", "png", "all-bytes"],
)
def test_non_image_is_shown_as_bytes(content):
    blank = opened(contact_sheet([], 1, ""))
    visible = opened(contact_sheet([Cell(content, "")], 1, ""))

    assert visible.size == blank.size
    assert visible.tobytes() != blank.tobytes()


@pytest.mark.parametrize("format_", ["DDS", "EPS", "TIFF", "ICO"])
def test_rare_formats_are_not_decoded(format_):
    sheet = opened(contact_sheet([Cell(painted("#ff0000", format_=format_), "")], 1, ""))

    assert (255, 0, 0) not in {colour for _, colour in sheet.getcolors(1 << 16)}


@pytest.mark.parametrize(
    "content",
    [
        b"DDS |" + bytes(200),
        b"DDS |\x00\x00\x00" + b"\xff" * 200,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        *(painted("red")[:cut] for cut in range(8, 70, 4)),
    ],
    ids=["dds", "dds-size", "eps", *(f"png-{cut}" for cut in range(8, 70, 4))],
)
def test_any_leading_bytes_give_a_sheet(content):
    assert opened(contact_sheet([Cell(content, "hostile")], 1, "")).width > SIDE


def test_failing_decoder_does_not_fail_the_sheet(monkeypatch):
    def fails(*_, **__):
        raise AssertionError("a decoder lost its way")

    monkeypatch.setattr(Image.Image, "thumbnail", fails)

    assert opened(contact_sheet([Cell(painted("red"), "")], 1, "")).width > SIDE


def test_truncated_photo_does_not_fail(draw_photo):
    data = draw_photo(size=(600, 400))

    assert opened(contact_sheet([Cell(data[: len(data) // 3], "cut")], 1, "")).width > SIDE


def test_long_caption_stays_in_its_cell():
    def below(caption):
        sheet = opened(contact_sheet([Cell(painted("white"), caption)] * 2, 2, ""))
        gap = sheet.crop((GAP + SIDE, 0, 2 * GAP + SIDE, sheet.height))
        return {colour for _, colour in gap.getcolors()}

    assert below("a caption that is far too long for a cell of this width" * 3) == below("")


def test_empty_sheet_is_valid():
    assert opened(contact_sheet([], 8, "nothing")).width > 8 * SIDE
