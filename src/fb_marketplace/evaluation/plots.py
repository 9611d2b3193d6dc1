"""Charts as PNG, without a display and without pyplot's global state."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float = 8, height: float = 4.5) -> "tuple[Figure, Axes]":
    """Create an empty chart; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def to_png(figure: "Figure") -> bytes:
    """Render a chart; the same chart gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def plot_bars(names: Sequence[str], counts: Sequence[int], title: str, unit: str) -> bytes:
    """Plot counts by name, the largest on top; returns a PNG."""
    figure, axes = new_figure(height=0.9 + 0.32 * len(names))
    order = np.argsort(counts, kind="stable")
    bars = axes.barh([names[index] for index in order], [counts[index] for index in order])
    axes.bar_label(bars, padding=3)
    axes.set_xlabel(unit)
    axes.set_title(title)
    return to_png(figure)


def plot_log_histogram(values: Sequence[float], title: str, unit: str) -> bytes:
    """Plot a histogram of positive values on a logarithmic axis, with the median; returns a PNG."""
    figure, axes = new_figure()
    positive = np.asarray([value for value in values if value > 0])
    if len(positive):
        edges = np.geomspace(positive.min(), max(positive.max(), positive.min() * 1.01), 60)
        axes.hist(positive, bins=edges.tolist())
        median = float(np.median(positive))
        axes.axvline(median, color="black", linestyle="--", label=f"median {median:,.2f}")
        axes.legend()
    axes.set_xscale("log")
    axes.set_xlabel(unit)
    axes.set_ylabel("listings")
    axes.set_title(title)
    return to_png(figure)
