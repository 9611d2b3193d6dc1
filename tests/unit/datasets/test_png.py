import base64

from fb_marketplace.datasets.png import PNGDataset


def test_preview_is_base64(tmp_path, draw_photo):
    picture = draw_photo(format_="PNG")
    dataset = PNGDataset(f"{tmp_path}/sheet.png")
    dataset.save(picture)

    assert base64.b64decode(str(dataset.preview())) == picture


def test_preview_is_of_loaded_version(tmp_path, draw_photo, first, second):
    for version, seed in ((first, 1), (second, 2)):
        PNGDataset(f"{tmp_path}/sheet.png", version).save(draw_photo(seed))

    visible = PNGDataset(f"{tmp_path}/sheet.png", first).preview()

    assert base64.b64decode(str(visible)) == draw_photo(1)
