"""Training tasks: photos with their classes and category paths."""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths, category_paths
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.fingerprints import content_digest
from fb_marketplace.storage.keyed_table import Table

PLACEHOLDER_CLASSES: Final = 1
"""Number of classes of a network without classes. Nothing reads its probabilities."""


class TrainingTask(NamedTuple):
    """Photos to train on and photos to validate on, each sorted by image id.

    Attributes:
        images: the canonical photos.
        rows: int64, (photos,), positions of the training photos in the table.
        classes: int64, (photos,), label index of each training photo.
        paths: path classes of the training photos; None if only categories are learned.
        validation_rows: int64, (validation photos,), positions of the validation photos.
        validation_classes: int64, (validation photos,), label index of each validation photo.
    """

    images: Table
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    paths: CategoryPaths | None
    validation_rows: NDArray[np.int64]
    validation_classes: NDArray[np.int64]


def make_task(
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> TrainingTask:
    """Build the task from the training and validation splits."""
    labels = sorted(set(products["category"]))
    listed = photos_with_labels(images, products, splits)
    training = listed[listed["split"] == "train"]
    validation = listed[listed["split"] == "validation"]
    return TrainingTask(
        images,
        training["row"].to_numpy(np.int64),
        label_indices(training["category"], labels),
        category_paths(training, tuple(labels), parameters),
        validation["row"].to_numpy(np.int64),
        label_indices(validation["category"], labels),
    )


def photos_with_labels(table: Table, products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Join the photos of a table with their splits and categories, sorted by image id.

    Args:
        table: any table with a column ``image_id``.
        products: the listings, for their categories.
        splits: group and split of each photo.

    Returns:
        ``image_id``, ``row`` (position in the table), ``product_id``, ``group``, ``split``, ``category``
        and ``category_path``.
    """
    order = table.order("image_id").tolist()
    listed: pd.DataFrame = table.take(order, ["image_id"]).to_pandas()
    return (
        listed.assign(row=order)
        .merge(splits.dropna(subset="image_id"), on="image_id", validate="1:1")
        .merge(
            products[["product_id", "category", "category_path"]],
            on="product_id",
            validate="m:1",
        )
    )


def num_classes(vision_labels: list[str] | Skipped) -> int:
    """Return the number of columns of a network's probabilities."""
    return PLACEHOLDER_CLASSES if isinstance(vision_labels, Skipped) else len(vision_labels)


def label_indices(categories: "pd.Series[str]", labels: list[str]) -> NDArray[np.int64]:
    """Return the index of each category in the labels: int64, (cases,)."""
    return np.asarray([labels.index(category) for category in categories], dtype=np.int64)


def data_digests(images: Table, products: pd.DataFrame, splits: pd.DataFrame) -> dict[str, str]:
    """Return a digest of each part of the training data.

    Args:
        images: the canonical photos.
        products: the listings, for their categories.
        splits: split of each photo.
    """
    photos = images.read(["image_id", "product_id", "sha256"]).to_pandas()
    labels = products[["product_id", "category", "category_path"]]
    return {
        "images": content_digest(photos, "image_id"),
        "labels": content_digest(labels, "product_id"),
        "splits": content_digest(splits, ["product_id", "image_id"]),
    }
