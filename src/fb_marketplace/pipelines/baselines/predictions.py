"""What models answered, as tables: one row a model and listing."""

from collections.abc import Iterator, Sequence

import pandas as pd

from fb_marketplace.schemas.splits import EVALUATION_SPLITS


def category_predictions(listed: pd.DataFrame, model: str, answered: Sequence[str]) -> pd.DataFrame:
    """Make a table of one model's answers.

    Args:
        listed: listings with group, split and category.
        model: its name.
        answered: the category that it said of each.
    """
    rows = listed[["product_id", "group", "split", "category"]].reset_index(drop=True)
    return rows.assign(model=model, answered=list(answered)).astype("str")


def evaluation_splits(answers: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Give model, split and answers, in the order of the models, validation before test."""
    for model in answers["model"].unique():
        for split in EVALUATION_SPLITS:
            of_both = (answers["model"] == model) & (answers["split"] == split)
            yield str(model), split, answers[of_both]
