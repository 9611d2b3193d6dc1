"""Summary of the last run: data, metrics of the release, and example queries."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from fb_marketplace.evaluation.console import format_estimate
from fb_marketplace.storage.lake_layout import started_at
from fb_marketplace_serving.release.manifest import Manifest

_PHOTO_QUERIES: Final = (
    "  curl -F image=@photo.jpg http://127.0.0.1:8000/predict/image",
    '  curl -F image=@photo.jpg "http://127.0.0.1:8000/predict/similar_images?limit=5"',
)


class TrainedModel(NamedTuple):
    """The latest training of a model.

    Attributes:
        node: name of the node that trained it.
        version: version of the run that trained it.
        changed_share: share of its data that has changed since.
    """

    node: str
    version: str
    changed_share: float


def format_summary(
    manifest: Manifest,
    cleaning_report: dict[str, Any],
    lake: str,
    models: Sequence[TrainedModel] = (),
    drift: dict[str, Any] | None = None,
) -> str:
    """Format the summary for a terminal.

    Args:
        manifest: manifest of the current release.
        cleaning_report: counts of accepted and rejected rows.
        lake: URL of the lake.
        models: the trained models.
        drift: how far the listings are from those that the network was trained on.

    Returns:
        Lines of text.
    """
    sources = [
        f"  {source:9} {account['in']:>9,} in = {account['kept']:,} kept + "
        f"{account['quarantined']:,} in quarantine{_reasons(account['reasons'])}"
        for source, account in cleaning_report["ledger"].items()
    ]
    duplicates = cleaning_report["duplicates"]
    return "\n".join(
        [
            f"Release {manifest.version} in {lake}",
            "",
            "From the bucket:",
            *sources,
            f"  duplicates {duplicates['photos']:>8,} photos in {duplicates['groups']:,} groups",
            "",
            "On the test split:",
            *_metrics(manifest.metrics),
            *(("", "The release lacks:") if manifest.lacks else ()),
            *(f"  {part.replace('_', ' ')}: {reason}" for part, reason in manifest.lacks.items()),
            "",
            *_trainings(models, drift),
            "Example queries:",
            "  make serve",
            *(() if "photo_search" in manifest.lacks else _PHOTO_QUERIES),
            '  curl "http://127.0.0.1:8000/search?q=oak+table&max_price=100"',
            "Explore: make viz, make lab",
        ]
    )


def _trainings(models: Sequence[TrainedModel], drift: dict[str, Any] | None) -> Iterator[str]:
    """Yield a line for each model whose data has changed since it was trained, and one for all others."""
    outdated = [model for model in models if model.changed_share]
    if models:
        yield "Trained:"
    if current := len(models) - len(outdated):
        yield f"  on these listings      {current} of {len(models)} models"
    for model in outdated:
        age = (datetime.now(UTC) - started_at(model.version)).days
        yield (
            f"  {model.node.rpartition('.')[2]:22} {model.version[:10]}, {age:,} days ago; "
            f"{model.changed_share:.1%} of the data changed since"
        )
    if drift:
        reasons = "; ".join(drift["reasons"])
        yield f"  retraining of the network is {f'due: {reasons}' if reasons else 'not due'}"
    if models:
        yield ""


def _metrics(metrics: Any) -> Iterator[str]:
    """Yield a line for each metric; one line if nothing was evaluated."""
    if "vision" in metrics:
        validation, vision = metrics["vision"]["validation"], metrics["vision"]["test"]
        most_common = vision["photos_top1_most_frequent_category"]["value"]
        yield (
            f"  category of a photo, accuracy       {_with_cases(vision['photos_top1'])}"
            f"   ({_frozen(vision)}, most common category: {most_common:.3f})"
        )
        yield (
            f"  the same on the validation split    {_with_cases(validation['photos_top1'])}"
            f"   ({_frozen(validation)})"
        )
        yield (
            f"  category of a listing, with text    {_with_cases(vision['products_with_text_top1'])}"
            f"   (text only: {vision['products_text_top1']['value']:.3f})"
        )
    if "retrieval" in metrics:
        recall = metrics["retrieval"]["all_photos"]["same_product_recall_at_10"]
        yield (
            f"  other photo of the listing, R@10    {_with_cases(recall)}"
            f"   (random: {recall['random_baseline']:.4f})"
        )
    if "ranking" in metrics:
        ndcg = metrics["ranking"]["searches"]["all"]["ndcg_at_10"]["methods"]
        yield (
            f"  search, NDCG@10                     {_with_cases(ndcg['ranker'])}"
            f"   (rank fusion: {ndcg['fusion']['value']:.3f})"
        )
        if composed := metrics["ranking"].get("composed"):
            methods = composed["ndcg_at_10"]["methods"]
            yield (
                f"  photo and an attribute, NDCG@10     {_with_cases(methods['ranker'])}"
                f"   (words only: {methods['words_only']['value']:.3f})"
            )
        yield from _served(metrics["ranking"])
    if not metrics.keys() & {"vision", "retrieval", "ranking"}:
        yield "  nothing, too few listings"


def _served(ranking: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each metric of the served search that was measured."""
    relevance, typos = ranking.get("relevance", {}), ranking.get("typos", {})
    paraphrases = ranking.get("paraphrases", {}).get("all")
    if precision := relevance.get("precision"):
        random = precision["random_baseline"]
        yield f"  search, mean precision              {_with_cases(precision)}   (random: {random:.3f})"
    if cheapest := relevance.get("precision_at_10", {}).get("price_asc"):
        best = cheapest["to_best_first"]
        yield f"  search, first ten by price          {_with_cases(cheapest)}   ({best:.2f} of best first)"
    if recall := typos.get("recall_at_10"):
        before = typos["uncorrected"]["value"]
        yield f"  search with a typo, R@10            {_with_cases(recall)}   (uncorrected: {before:.3f})"
    if paraphrases:
        random = paraphrases["random_baseline"]
        yield f"  search, paraphrased, R@10           {_with_cases(paraphrases)}   (random: {random:.3f})"


def _reasons(reasons: dict[str, int]) -> str:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f" ({counts})" if counts else ""


def _frozen(vision: dict[str, Any]) -> str:
    return f"frozen features: {vision['photos_top1_frozen']['value']:.3f}"


def _with_cases(estimate: dict[str, Any]) -> str:
    return f"{format_estimate(estimate)} of {estimate['cases']:,}"
