"""Tables of predictions: one row per model and listing."""

from collections.abc import Iterator, Sequence

import pandas as pd

from fb_marketplace.schemas.splits import EVALUATION_SPLITS


def category_predictions(
    listed: pd.DataFrame, model: str, predicted: Sequence[str]
) -> pd.DataFrame:
    """Return the table of one model's predictions.

    Args:
        listed: listings with group, split and category.
        model: the model's name.
        predicted: the predicted category of each listing.
    """
    rows = listed[["product_id", "group", "split", "category"]].reset_index(drop=True)
    return rows.assign(model=model, predicted=list(predicted)).astype("str")


def evaluation_splits(predictions: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (model, split, predictions), in the order of the models, validation before test."""
    for model in predictions["model"].unique():
        for split in EVALUATION_SPLITS:
            rows = (predictions["model"] == model) & (predictions["split"] == split)
            yield str(model), split, predictions[rows]
