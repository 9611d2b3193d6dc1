"""What the last run made, and how to ask it: a screenful for a terminal."""

from typing import Any

from fb_marketplace_serving.release.manifest import Manifest


def summary(manifest: Manifest, report: dict[str, Any], lake: str) -> str:
    """Tell what a lake holds, in lines that fit a terminal.

    Args:
        manifest: the release in force.
        report: the cleaning report.
        lake: where it is.
    """
    ledger = [
        f"  {source:9} {account['in']:>9,} in = {account['kept']:,} kept + "
        f"{account['quarantined']:,} in quarantine{_reasons(account['reasons'])}"
        for source, account in report["ledger"].items()
    ]
    copies = report["duplicates"]
    vision: Any = manifest.metrics["vision"]
    retrieval: Any = manifest.metrics["retrieval"]
    category = vision["test"]["photos_top1"]
    trivial = vision["test"]["photos_top1_commonest_category"]
    listing = vision["test"]["products_with_text_top1"]
    text = vision["test"]["products_text_top1"]
    found = retrieval["all_photos"]["same_product_recall_at_10"]
    ranking: Any = manifest.metrics["ranking"]
    searches = ranking["searches"]["all"]["ndcg_at_10"]["methods"]
    return "\n".join(
        [
            f"Release {manifest.version} in {lake}",
            "",
            "From the bucket:",
            *ledger,
            f"  copies    {copies['photos']:>9,} photos in {copies['groups']:,} groups",
            "",
            "On the test split, which no choice was made on:",
            f"  category of a photo, right          {_estimate(category)}"
            f"   (always the commonest: {trivial['value']:.3f})",
            f"  category of a listing, with text    {_estimate(listing)}"
            f"   (text alone: {text['value']:.3f})",
            f"  other photo of the listing in 10    {_estimate(found)}   (chance: {found['chance']:.4f})",
            f"  a search's first ten, NDCG          {_estimate(searches['ranker'])}"
            f"   (sources fused: {searches['fusion']['value']:.3f})",
            "",
            "Ask it:",
            "  make serve",
            "  curl -F image=@photo.jpg http://127.0.0.1:8000/predict/image",
            '  curl -F image=@photo.jpg "http://127.0.0.1:8000/predict/similar_images?limit=5"',
            '  curl "http://127.0.0.1:8000/search?q=oak+table&max_price=100"',
            "Look at it:  make viz, make lab",
        ]
    )


def _reasons(reasons: dict[str, int]) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f" ({told})" if told else ""


def _estimate(metric: dict[str, Any]) -> str:
    return (
        f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}] of {metric['cases']:,}"
    )
