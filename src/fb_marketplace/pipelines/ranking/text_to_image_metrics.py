"""Whether words find pictures: titles put to photos that have no text."""

from typing import Any, Final

import numpy as np

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace_serving.encoders.text import TextEncoder

DEPTH: Final = 10


def evaluate_text_to_image(
    gallery: SearchCorpus,
    encoder: TextEncoder,
    titles: list[tuple[str, str, str]],
    parameters: RankingEvaluationParameters,
) -> dict[str, Any]:
    """Say how often a title finds a photo of its listing among the first ten, by what photos look like
    alone.

    Args:
        gallery: the photos.
        encoder: of the titles.
        titles: ``product_id``, group and title, of listings that have a photo there.
        parameters: of the bootstrap.

    Returns:
        ``recall_at_10``; ``in_category``, what ten photos drawn from the listing's own root category would
        give; and ``times``, how many times as much the first is.
    """
    searched = gallery.searched
    catalogue = searched.listings
    photos_in_root = np.bincount(catalogue.root[catalogue.listing_of_row])
    found, drawn, groups = [], [], []
    for product, group, title in titles:
        at = catalogue.position(product)
        own = int(catalogue.photo_count[at])
        if not own:
            continue
        rows = searched.text_to_image.search(encoder.encode([title]).pictured[0], DEPTH).rows
        found.append(bool((catalogue.listing_of_row[rows] == at).any()))
        drawn.append(random_recall(int(photos_in_root[catalogue.root[at]]), own, DEPTH))
        groups.append(group)
    told = (parameters.bootstrap_samples, parameters.confidence, parameters.seed)
    recall = mean_by_group(found, groups, *told)
    by_chance = mean_by_group(drawn, groups, *told)
    return {
        "recall_at_10": recall.to_dict(),
        "in_category": by_chance.to_dict(),
        "times": round(recall.value / by_chance.value, 2),
        "photos": len(searched.image),
    }


def random_recall(photos: int, own: int, drawn: int) -> float:
    """Give the chance that some of the listing's own photos are among those drawn: hypergeometric."""
    from scipy.special import gammaln

    if photos - own < drawn:
        return 1.0

    def ways(of: int) -> float:
        return float(gammaln(of + 1) - gammaln(drawn + 1) - gammaln(of - drawn + 1))

    return 1 - float(np.exp(ways(photos - own) - ways(photos)))
