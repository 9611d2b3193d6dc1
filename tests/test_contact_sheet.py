import io

import pytest
from PIL import Image

from fb_marketplace.contact_sheet import GAP, SIDE, Cell, contact_sheet


def opened(sheet):
    return Image.open(io.BytesIO(sheet), formats=("PNG",)).convert("RGB")


def painted(colour, size=(40, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_cells_stand_row_by_row():
    colours = ("#ff0000", "#00ff00", "#0000ff")
    sheet = opened(contact_sheet([Cell(painted(each), "") for each in colours], 2, "three"))

    middles = [GAP + SIDE // 2, GAP + (SIDE + GAP) + SIDE // 2]
    seen = {sheet.getpixel((x, y)) for x in middles for y in range(sheet.height)}
    assert {(255, 0, 0), (0, 255, 0), (0, 0, 255)} <= seen
    left = [sheet.getpixel((middles[0], y)) for y in range(sheet.height)]
    assert left.index((255, 0, 0)) < left.index((0, 0, 255))
    assert (0, 255, 0) not in left


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xd8\xff\xe0" + bytes(100), b"\x89PNG\r\n\x1a\n", bytes(range(256))],
)
def test_what_is_no_picture_is_shown_by_its_bytes(content):
    blank = opened(contact_sheet([], 1, ""))
    shown = opened(contact_sheet([Cell(content, "")], 1, ""))

    assert shown.size == blank.size
    assert shown.tobytes() != blank.tobytes()


def test_the_beginning_of_a_photo_that_was_cut_does_not_fail(draw_photo):
    data = draw_photo(size=(600, 400))

    assert opened(contact_sheet([Cell(data[: len(data) // 3], "cut")], 1, "")).width > SIDE


def test_a_long_caption_stays_within_its_cell():
    def below(caption):
        sheet = opened(contact_sheet([Cell(painted("white"), caption)] * 2, 2, ""))
        gap = sheet.crop((GAP + SIDE, 0, 2 * GAP + SIDE, sheet.height))
        return {colour for _, colour in gap.getcolors()}

    assert below("a caption that is far too long for a cell of this width" * 3) == below("")


def test_a_sheet_of_nothing_is_a_sheet():
    assert opened(contact_sheet([], 8, "nothing")).width > 8 * SIDE
