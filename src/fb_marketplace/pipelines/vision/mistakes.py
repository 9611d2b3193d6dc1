"""The worst mistakes: photos of the test split that were wrong and sure."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fb_marketplace.answers import answers_of, labels_of
from fb_marketplace.contact_sheet import Cell, contact_sheet
from fb_marketplace.tables import Table
from fb_marketplace.vision_parameters import EvaluationParameters


def draw_mistakes(
    vision_predictions: pd.DataFrame,
    images: Table,
    products: pd.DataFrame,
    parameters: EvaluationParameters,
) -> bytes:
    """Show the wrong answers on the test split, the surest first, with what they should be; a PNG."""
    labels = labels_of(products)
    found = answers_of(vision_predictions, "test", labels)
    asked = vision_predictions.loc[vision_predictions["split"] == "test", "image_id"].to_list()
    wrong = np.flatnonzero(~found.right)
    worst = wrong[np.argsort(-found.confidences[wrong], kind="stable")][: parameters.worst_mistakes]
    image_ids = images.read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    shown = images.take([rows[asked[place]] for place in worst], ["jpeg"]).column("jpeg")
    names = short_names(labels)
    cells = [
        Cell(
            jpeg,
            f"said {names[found.said[place]]} {found.confidences[place]:.2f}, "
            f"is {names[found.classes[place]]}",
        )
        for place, jpeg in zip(worst, shown.to_pylist(), strict=True)
    ]
    title = f"The {len(cells)} surest of {len(wrong):,} mistakes on {len(asked):,} photos"
    return contact_sheet(cells, 6, title)


def short_names(labels: Sequence[str]) -> list[str]:
    """Cut names to their first words, as many as it takes to tell them apart."""
    words = [label.split() for label in labels]

    def cut(name: list[str]) -> str:
        for count in range(1, len(name)):
            if sum(other[:count] == name[:count] for other in words) == 1:
                return " ".join(name[:count]).rstrip(",;&")
        return " ".join(name)

    return [cut(name) for name in words]
