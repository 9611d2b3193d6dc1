import io

import pytest
from PIL import Image

from fb_marketplace.evaluation.plots import plot_bars, plot_log_histogram


@pytest.mark.parametrize(
    ("draw", "changes", "other"),
    [
        (
            plot_bars,
            (["a", "b"], [3, 1], "Title", "listings"),
            (["a", "b"], [1, 3], "Title", "listings"),
        ),
        (plot_log_histogram, ([1, 10, 100], "Title", "GBP"), ([1, 10, 900], "Title", "GBP")),
    ],
)
def test_plot_is_deterministic(draw, changes, other):
    assert draw(*changes) == draw(*changes)
    assert draw(*changes) != draw(*other)


@pytest.mark.parametrize("values", [[], [0, 0], [5], [5, 5], [0, 1e-9, 1e9]])
def test_log_axis_accepts_any_values(values):
    with Image.open(io.BytesIO(plot_log_histogram(values, "Prices", "GBP"))) as image:
        assert image.format == "PNG"


def test_empty_bar_chart_is_valid():
    assert plot_bars([], [], "Nothing", "listings").startswith(b"\x89PNG")
