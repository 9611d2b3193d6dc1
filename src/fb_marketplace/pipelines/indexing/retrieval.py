"""How often a photo finds the other photo of its own listing."""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.bootstrap import mean_by_group
from fb_marketplace.parameters import IndexParameters
from fb_marketplace.stored_file import StoredFile
from fb_marketplace.tables import Table
from fb_marketplace_serving.index import Index

DEPTHS: Final = (1, 5, 10)


def measure_retrieval(
    image_index: StoredFile,
    image_index_ids: StoredFile,
    image_embeddings: Table,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: IndexParameters,
) -> dict[str, Any]:
    """Ask the index for each photo of the test split that has a partner.

    A query is a photo of a test listing that has another; the answer is right at k when one of the
    first k photos is of the same listing. The query itself and its copies are not counted as
    answers, nor is a partner that is a copy of the query.

    Returns:
        R@1, R@5 and R@10 with count, interval and what chance would give, in two galleries: all
        photos, as served, and those of the test split alone.
    """
    served = Index.from_bytes(image_index.read(), image_index_ids.read())
    photos = _photos(served, splits, duplicate_groups)
    order = image_embeddings.order("image_id")
    test = photos[photos["split"] == "test"]
    vectors = image_embeddings.vectors(order[test.index].tolist(), "embedding")
    alone = Index.build_flat(vectors, test["image_id"].to_list(), test["product_id"].to_list())
    asked = (test["pictures"] > 1).to_numpy()
    return {
        "all_photos": _recall(served, photos, test[asked], vectors[asked], parameters),
        "test_photos": _recall(alone, photos, test[asked], vectors[asked], parameters),
    }


def _photos(index: Index, splits: pd.DataFrame, duplicate_groups: pd.DataFrame) -> pd.DataFrame:
    """Say of each row of the index whose it is, which photos are copies of it, and where it belongs.

    Returns:
        ``image_id``, ``product_id``, ``group``, ``split``; ``copies``, the name that a photo
        shares with its copies; and ``pictures``, how many different ones its listing has.
    """
    photos = pd.DataFrame({"image_id": index.image_ids, "product_id": index.product_ids})
    photos = photos.merge(splits[["image_id", "group", "split"]], on="image_id", how="left")
    names = duplicate_groups.set_index("image_id")["group"]
    photos["copies"] = photos["image_id"].map(names).astype("str").fillna(photos["image_id"])
    photos["pictures"] = photos.groupby("product_id")["copies"].transform("nunique")
    return photos


def _recall(
    index: Index,
    photos: pd.DataFrame,
    queries: pd.DataFrame,
    vectors: NDArray[np.float32],
    parameters: IndexParameters,
) -> dict[str, Any]:
    known = photos.set_index("image_id").loc[list(index.image_ids)]
    copies, products = known["copies"].to_numpy(), known["product_id"].to_numpy()
    reach = max(DEPTHS) + int(photos["copies"].value_counts().max())
    found = np.zeros((len(queries), len(DEPTHS)))
    asked = zip(queries["copies"], queries["product_id"], vectors, strict=True)
    for place, (query_copies, query_product, vector) in enumerate(asked):
        hits = index.search(vector, reach).rows
        answers = hits[copies[hits] != query_copies]
        right = products[answers[: max(DEPTHS)]] == query_product
        found[place] = [right[:depth].any() for depth in DEPTHS]
    return {
        f"same_product_recall_at_{depth}": mean_by_group(
            found[:, column],
            queries["group"],
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).plain()
        | {"chance": round(depth / max(1, len(index) - 1), 5), "gallery": len(index)}
        for column, depth in enumerate(DEPTHS)
    }
