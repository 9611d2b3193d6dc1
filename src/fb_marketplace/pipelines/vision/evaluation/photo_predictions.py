"""Category predictions of the served encoder for validation and test photos."""

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.data.task import photos_with_labels
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.keyed_table import Table

COLUMNS = ["image_id", "product_id", "group", "split", "category"]


def collect_photo_predictions(
    image_embeddings: Table, encoder: FileRef, products: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    """Return the predictions of each validation and test photo, sorted by image id.

    The encoder gives probabilities and embedding in one pass, so ``image_embeddings`` has both.

    Args:
        image_embeddings: probabilities of every photo.
        encoder: the served encoder, ONNX.
        products: the listings, for their categories.
        splits: group and split of each photo.

    Returns:
        ``image_id``, ``product_id``, ``group``, ``split``, ``category`` and ``probabilities``.

    Raises:
        UserError: the table lacks photos, or another encoder computed it.
    """
    expected = splits.loc[splits["split"] != "train", "image_id"].dropna()
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
    return photos[COLUMNS].assign(probabilities=list(probabilities)).reset_index(drop=True)
