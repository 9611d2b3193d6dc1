"""Summary of the last run: data, metrics of the release, and example queries."""

from typing import Any

from fb_marketplace.evaluation.console import format_estimate
from fb_marketplace_serving.release.manifest import Manifest


def format_summary(manifest: Manifest, cleaning_report: dict[str, Any], lake: str) -> str:
    """Format the summary for a terminal.

    Args:
        manifest: manifest of the current release.
        cleaning_report: counts of accepted and rejected rows.
        lake: URL of the lake.

    Returns:
        Lines of text.
    """
    sources = [
        f"  {source:9} {account['in']:>9,} in = {account['kept']:,} kept + "
        f"{account['quarantined']:,} in quarantine{_reasons(account['reasons'])}"
        for source, account in cleaning_report["ledger"].items()
    ]
    duplicates = cleaning_report["duplicates"]
    metrics: Any = manifest.metrics
    validation, vision = metrics["vision"]["validation"], metrics["vision"]["test"]
    most_common = vision["photos_top1_most_frequent_category"]["value"]
    recall = metrics["retrieval"]["all_photos"]["same_product_recall_at_10"]
    ndcg = metrics["ranking"]["searches"]["all"]["ndcg_at_10"]["methods"]
    return "\n".join(
        [
            f"Release {manifest.version} in {lake}",
            "",
            "From the bucket:",
            *sources,
            f"  duplicates {duplicates['photos']:>8,} photos in {duplicates['groups']:,} groups",
            "",
            "On the test split:",
            f"  category of a photo, accuracy       {_with_cases(vision['photos_top1'])}"
            f"   ({_frozen(vision)}, most common category: {most_common:.3f})",
            f"  the same on the validation split    {_with_cases(validation['photos_top1'])}"
            f"   ({_frozen(validation)})",
            f"  category of a listing, with text    {_with_cases(vision['products_with_text_top1'])}"
            f"   (text only: {vision['products_text_top1']['value']:.3f})",
            f"  other photo of the listing, R@10    {_with_cases(recall)}"
            f"   (random: {recall['random_baseline']:.4f})",
            f"  search, NDCG@10                     {_with_cases(ndcg['ranker'])}"
            f"   (rank fusion: {ndcg['fusion']['value']:.3f})",
            "",
            "Example queries:",
            "  make serve",
            "  curl -F image=@photo.jpg http://127.0.0.1:8000/predict/image",
            '  curl -F image=@photo.jpg "http://127.0.0.1:8000/predict/similar_images?limit=5"',
            '  curl "http://127.0.0.1:8000/search?q=oak+table&max_price=100"',
            "Explore: make viz, make lab",
        ]
    )


def _reasons(reasons: dict[str, int]) -> str:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f" ({counts})" if counts else ""


def _frozen(vision: dict[str, Any]) -> str:
    return f"frozen features: {vision['photos_top1_frozen']['value']:.3f}"


def _with_cases(estimate: dict[str, Any]) -> str:
    return f"{format_estimate(estimate)} of {estimate['cases']:,}"
