"""Text-to-image retrieval: titles searched among photos without using any text."""

from typing import Any, Final

import numpy as np

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace_serving.encoders.text import TextEncoder

DEPTH: Final = 10


def evaluate_text_to_image(
    corpus: SearchCorpus,
    encoder: TextEncoder,
    titles: list[tuple[str, str, str]],
    parameters: RankingEvaluationParameters,
) -> dict[str, Any]:
    """Evaluate how often a title finds a photo of its listing among the first ten, by photos alone.

    Args:
        corpus: the photos.
        encoder: of the titles.
        titles: ``product_id``, group and title; listings without a photo are skipped.
        parameters: of the bootstrap.

    Returns:
        ``recall_at_10``; ``in_category``, the expected recall of ten random photos of the listing's root
        category; and ``times``, the ratio of the two.
    """
    store = corpus.indexes.listings
    photos_in_root = np.bincount(store.root[store.listing_of_row])
    hits, expected, groups = [], [], []
    for product, group, title in titles:
        source = store.position(product)
        own_photos = int(store.photo_count[source])
        if not own_photos:
            continue
        rows = corpus.indexes.text_to_image.search(encoder.encode([title]).pictured[0], DEPTH).rows
        hits.append(bool((store.listing_of_row[rows] == source).any()))
        expected.append(random_recall(int(photos_in_root[store.root[source]]), own_photos, DEPTH))
        groups.append(group)
    bootstrap = (parameters.bootstrap_samples, parameters.confidence, parameters.seed)
    recall = mean_by_group(hits, groups, *bootstrap)
    random = mean_by_group(expected, groups, *bootstrap)
    return {
        "recall_at_10": recall.to_dict(),
        "in_category": random.to_dict(),
        "times": round(recall.value / random.value, 2),
        "photos": len(corpus.indexes.image),
    }


def random_recall(photos: int, relevant: int, depth: int) -> float:
    """Return the probability that a relevant photo is among those drawn: hypergeometric.

    Args:
        photos: all photos.
        relevant: relevant photos.
        depth: photos drawn without replacement.
    """
    from scipy.special import gammaln

    if photos - relevant < depth:
        return 1.0

    def log_ways(total: int) -> float:
        return float(gammaln(total + 1) - gammaln(depth + 1) - gammaln(total - depth + 1))

    return 1 - float(np.exp(log_ways(photos - relevant) - log_ways(photos)))
