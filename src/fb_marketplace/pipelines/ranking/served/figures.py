"""Figure of the threshold."""

from typing import Any

from fb_marketplace.evaluation.plots import new_figure, to_png


def plot_threshold(relevance_card: dict[str, Any]) -> bytes:
    """Plot precision by recall in cross-validation on the validation split, with the threshold; a PNG."""
    figure, axes = new_figure(width=6, height=4.5)
    curve = relevance_card["curve"]
    axes.plot([point["recall"] for point in curve], [point["precision"] for point in curve])
    axes.plot(
        relevance_card["recall"],
        relevance_card["precision"],
        marker="o",
        color="black",
        linestyle="none",
        label=f"threshold {relevance_card['threshold']:.2f}",
    )
    axes.set_xlabel("mean recall of searches")
    axes.set_ylabel("mean precision of searches")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_title("Results by threshold, validation split")
    axes.legend()
    return to_png(figure)
