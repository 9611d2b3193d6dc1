import io

import pytest
from PIL import Image

from fb_marketplace.evaluation.plots import bars, log_histogram


@pytest.mark.parametrize(
    ("draw", "told", "other"),
    [
        (
            bars,
            (["a", "b"], [3, 1], "Title", "listings"),
            (["a", "b"], [1, 3], "Title", "listings"),
        ),
        (log_histogram, ([1, 10, 100], "Title", "GBP"), ([1, 10, 900], "Title", "GBP")),
    ],
)
def test_the_same_chart_gives_the_same_bytes_and_another_does_not(draw, told, other):
    assert draw(*told) == draw(*told)
    assert draw(*told) != draw(*other)


@pytest.mark.parametrize("values", [[], [0, 0], [5], [5, 5], [0, 1e-9, 1e9]])
def test_any_values_can_be_drawn_on_a_logarithmic_axis(values):
    with Image.open(io.BytesIO(log_histogram(values, "Prices", "GBP"))) as image:
        assert image.format == "PNG"


def test_no_bars_are_a_chart_too():
    assert bars([], [], "Nothing", "listings").startswith(b"\x89PNG")
