"""Charts as PNG, drawn without a display and without pyplot's global state."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float = 8, height: float = 4.5) -> "tuple[Figure, Axes]":
    """Make an empty chart, in inches."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def to_png(made: "Figure") -> bytes:
    """Draw a chart; the same chart gives the same bytes."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def plot_bars(names: Sequence[str], counts: Sequence[int], title: str, unit: str) -> bytes:
    """Draw counts by name, the largest on top."""
    made, axes = new_figure(height=0.9 + 0.32 * len(names))
    order = np.argsort(counts, kind="stable")
    drawn = axes.barh([names[place] for place in order], [counts[place] for place in order])
    axes.bar_label(drawn, padding=3)
    axes.set_xlabel(unit)
    axes.set_title(title)
    return to_png(made)


def plot_log_histogram(values: Sequence[float], title: str, unit: str) -> bytes:
    """Draw how positive values are spread, on a logarithmic axis, with their median."""
    made, axes = new_figure()
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
    return to_png(made)
