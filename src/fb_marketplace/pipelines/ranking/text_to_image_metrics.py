"""Text-to-image retrieval: titles search photos, without the text of the photos' listings."""

from typing import Any

import numpy as np

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.random_baseline import random_recall
from fb_marketplace.evaluation.retrieval_metrics import DEPTH
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace_serving.encoders.text import TextEncoder


def evaluate_text_to_image(
    corpus: SearchCorpus,
    encoder: TextEncoder,
    titles: list[tuple[str, str, str]],
    parameters: RankingEvaluationParameters,
) -> dict[str, Any]:
    """Compute how often one of the ten photos nearest to a title is of the title's listing.

    Args:
        corpus: the photos.
        encoder: encoder of the titles.
        titles: ``product_id``, group and title; listings without a photo are skipped.
        parameters: parameters of the bootstrap.

    Returns:
        ``recall_at_10``; ``in_category``, the expected recall of ten random photos of the listing's root
        category; ``times``, the ratio of the two; and ``photos``, the number of photos in the corpus. Only
        the last if no listing has a photo in the index.
    """
    if not len(corpus.indexes.text_to_image):
        return {"photos": 0}
    store = corpus.indexes.listings
    photos_in_root = np.bincount(store.root[store.listing_of_row])
    hits, own_photos, photos, groups = [], [], [], []
    for product, group, title in titles:
        source = store.position(product)
        if not store.photo_count[source]:
            continue
        rows = corpus.indexes.text_to_image.search(
            encoder.encode([title]).text_to_image_embedding[0], DEPTH
        ).rows
        hits.append(bool((store.listing_of_row[rows] == source).any()))
        own_photos.append(store.photo_count[source])
        photos.append(photos_in_root[store.root[source]])
        groups.append(group)
    if not hits:
        return {"photos": len(corpus.indexes.image)}
    bootstrap = (parameters.bootstrap_samples, parameters.confidence, parameters.seed)
    recall = mean_by_group(hits, groups, *bootstrap)
    expected = random_recall(np.array(own_photos), np.array(photos), DEPTH)
    random = mean_by_group(expected, groups, *bootstrap)
    return {
        "recall_at_10": recall.to_dict(),
        "in_category": random.to_dict(),
        "times": round(recall.value / random.value, 2),
        "photos": len(corpus.indexes.image),
    }
