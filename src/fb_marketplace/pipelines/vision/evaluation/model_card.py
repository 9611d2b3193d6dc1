"""The model card (Mitchell et al., 2019): intended use, data, metrics and limits of the model."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from string import Template
from typing import Any, Final

import pandas as pd

from fb_marketplace.evaluation.console import format_estimate
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import get_backbone

SUBJECTS: Final = {
    "photos": "photo",
    "products": "listing by photos",
    "products_text": "listing by text",
    "products_with_text": "listing by photos and text",
}

METRICS: Final = {"top1": "accuracy", "top3": "top-3 accuracy", "macro_f1": "macro F1"}


def write_model_card(
    vision_metrics: dict[str, Any],
    calibration: dict[str, Any],
    encoder_report: dict[str, Any],
    leakage_report: dict[str, Any],
    vision_labels: list[str],
    product_categories: pd.DataFrame,
    content_digests: dict[str, str],
    parameters: VisionParameters,
) -> str:
    """Fill the template ``model_card.md``.

    Args:
        vision_metrics: metrics of :func:`.evaluate.evaluate_vision`.
        calibration: the temperature.
        encoder_report: the served encoder, and the loss of int8.
        leakage_report: accuracy on a random split.
        vision_labels: the categories.
        product_categories: category of each listing.
        content_digests: digests of the data.
        parameters: the recipe.

    Returns:
        Markdown.
    """
    test = vision_metrics["test"]
    honest, random = leakage_report["honest"], leakage_report["random"]
    selected = vision_metrics["choices"]["abstention"]
    digests = (f"{name} `{digest[:12]}`" for name, digest in sorted(content_digests.items()))
    template = Template(files(__package__).joinpath("model_card.md").read_text(encoding="utf-8"))
    return template.substitute(
        num_categories=len(vision_labels),
        layer=parameters.embedding.layer,
        precision=encoder_report.get("precision", "fp32"),
        categories=", ".join(vision_labels),
        other_categories=_other_categories(product_categories, vision_labels, parameters),
        data_table=_data_table(vision_metrics, leakage_report["photos"]),
        digests=", ".join(digests),
        recipe_table=_parameter_table("parameter", parameters.model_dump(mode="json")),
        metrics_table=_metrics_table(vision_metrics),
        frozen_table=_frozen_table(test),
        gain_over_text=format_estimate(test["products_with_text_top1_gain_over_text"]),
        temperature=f"{calibration['temperature']:.3f}",
        calibration_table=_calibration_table(test),
        assurance=f"{max(choice['assurance'] for choice in selected.values()):.0%}",
        abstention_table=_abstention_table(selected, test["abstention"]),
        sets_table=_sets_table(selected, test["abstention"]),
        encoder_table=_parameter_table(
            "", {name: value for name, value in encoder_report.items() if name != "weights"}
        ),
        weights=_describe_weights(encoder_report["weights"]),
        error_rate=f"{1 - test['photos_top1']['value']:.0%}",
        input_side=get_backbone(parameters).side,
        random_top1=format_estimate(random["top1"]),
        honest_top1=format_estimate(honest["top1"]),
        difference=format_estimate(leakage_report["difference"]),
        random_siblings=f"{random['sibling_in_training']['value']:.0%}",
        honest_siblings=f"{honest['sibling_in_training']['value']:.0%}",
    )


def _other_categories(
    product_categories: pd.DataFrame, vision_labels: list[str], parameters: VisionParameters
) -> str:
    counts = product_categories["category"].value_counts(ascending=True).drop(vision_labels)
    if counts.empty:
        return "No category is excluded."
    names = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    return (
        f"Categories with fewer than {parameters.min_listings_per_category} listings are not classes: "
        f"{names}."
    )


def _describe_weights(weights: list[dict[str, str | None]]) -> str:
    texts = (
        f"{entry['name']}, from {entry['source']}"
        + (f" (sha256 `{entry['sha256'][:12]}`)" if entry["sha256"] else "")
        + f", licence {entry['license']}"
        for entry in weights
    )
    return "; ".join(texts) or "none, the network was trained from random weights"


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Format a table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def _data_table(metrics: dict[str, Any], photos: dict[str, int]) -> str:
    def evaluated(split: str, subject: str) -> str:
        estimate = metrics.get(split, {}).get(f"{subject}_top1")
        return f"{estimate['cases']:,} in {estimate['groups']:,} groups" if estimate else ""

    return markdown_table(
        ("split", "photos", "photos evaluated", "listings evaluated"),
        (
            (split, f"{count:,}", evaluated(split, "photos"), evaluated(split, "products_text"))
            for split, count in photos.items()
        ),
    )


def _metrics_table(metrics: dict[str, Any]) -> str:
    validation, test = metrics["validation"], metrics["test"]
    return markdown_table(
        ("subject", "metric", "validation", "test", "baseline", "cases", "groups"),
        (
            (
                subject_name,
                metric_name,
                format_estimate(validation[name := f"{subject}_{metric}"]),
                format_estimate(test[name]),
                f"{test[f'{name}_most_frequent_category']['value']:.3f}",
                f"{test[name]['cases']:,}",
                f"{test[name]['groups']:,}",
            )
            for subject, subject_name in SUBJECTS.items()
            for metric, metric_name in METRICS.items()
        ),
    )


def _frozen_table(test: dict[str, Any]) -> str:
    return markdown_table(
        ("subject", "accuracy, frozen", "gain"),
        (
            (
                name,
                format_estimate(test[f"{subject}_top1_frozen"]),
                format_estimate(test[f"{subject}_top1_gain_over_frozen"]),
            )
            for subject, name in SUBJECTS.items()
            if f"{subject}_top1_frozen" in test
        ),
    )


def _calibration_table(test: dict[str, Any]) -> str:
    rows = {"photos_ece_uncalibrated": "photo, before calibration"}
    rows |= {f"{subject}_ece": f"{name}, after" for subject, name in SUBJECTS.items()}
    return markdown_table(
        ("subject", "debiased ECE", "debiased root mean square", "plain ECE", "bins", "cases"),
        (
            (
                name,
                format_estimate(test[error]),
                format_estimate(test[error]["root_mean_square"]),
                f"{test[error]['plain']:.3f}",
                test[error]["bins"],
                f"{test[error]['cases']:,}",
            )
            for error, name in rows.items()
        ),
    )


def _abstention_table(selected: dict[str, Any], test: dict[str, Any]) -> str:
    return markdown_table(
        (
            *("subject", "threshold", "guaranteed error", "error, all cases"),
            *("answered", "error without abstention"),
        ),
        (
            (
                SUBJECTS[subject],
                f"{choice['threshold']:.4f}",
                f"{choice['error']:.0%}",
                *(
                    format_estimate(test[subject][name])
                    for name in ("error", "coverage", "error_of_all")
                ),
            )
            for subject, choice in selected.items()
        ),
    )


def _sets_table(selected: dict[str, Any], test: dict[str, Any]) -> str:
    return markdown_table(
        ("subject", "guaranteed coverage", "coverage, all cases", "categories in a set"),
        (
            (
                SUBJECTS[subject],
                f"{1 - choice['error']:.0%}",
                format_estimate(test[subject]["set_coverage"]),
                format_estimate(test[subject]["set_size"]),
            )
            for subject, choice in selected.items()
        ),
    )


def _parameter_table(head: str, values: Mapping[str, Any]) -> str:
    return markdown_table(
        (head, "value"), ((f"`{name}`", value) for name, value in _flatten(values))
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Return the leaves of nested mappings by dotted name."""
    rows: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", f"{value:.6g}" if isinstance(value, float) else value))
    return rows
