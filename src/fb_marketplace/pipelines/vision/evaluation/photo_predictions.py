"""Category predictions of the served encoder for validation and test photos."""

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.data.task import photos_with_labels
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.keyed_table import Table

COLUMNS = ["image_id", "product_id", "group", "split", "category"]


def collect_photo_predictions(
    image_embeddings: Table,
    encoder: FileRef,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_labels: list[str],
) -> pd.DataFrame:
    """Return the predictions of each validation and test photo, sorted by image id.

    The encoder gives probabilities and embedding in one pass, so ``image_embeddings`` has both.

    Args:
        image_embeddings: probabilities of every photo.
        encoder: the served encoder, ONNX.
        products: the listings whose category is a class.
        splits: group and split of each photo.
        vision_labels: the classes.

    Returns:
        ``image_id``, ``product_id``, ``group``, ``split``, ``category`` and ``probabilities``.

    Raises:
        UserError: the table lacks photos, or another encoder computed it.
    """
    labelled = splits[splits["product_id"].isin(products["product_id"])]
    expected = labelled.loc[labelled["split"] != "train", "image_id"].dropna()
    listed = photos_with_labels(image_embeddings, products, splits)
    photos = listed[listed["split"] != "train"]
    rows = photos["row"].to_list()
    encoders = image_embeddings.take(rows, ["encoder_sha256"]).column("encoder_sha256").to_pylist()
    if len(photos) != len(expected) or set(encoders) - {sha256(encoder.read())}:
        raise UserError(
            f"image_embeddings has {len(photos):,} of {len(expected):,} validation and test photos, by "
            f"the encoders {', '.join(sorted(digest[:12] for digest in set(encoders)))}; expected all, by "
            f"{sha256(encoder.read())[:12]}. Rerun `kedro run --pipeline=embeddings`."
        )
    probabilities = image_embeddings.vectors(rows, "probabilities")
    if probabilities.shape[1] != len(vision_labels):
        raise UserError(
            f"the encoder has {probabilities.shape[1]} classes, but vision_labels has "
            f"{len(vision_labels)}. Rerun `kedro run --pipeline=vision`."
        )
    return photos[COLUMNS].assign(probabilities=list(probabilities)).reset_index(drop=True)
