"""The model card (Mitchell et al., 2019): what the model is for, how good it is, and where it ends."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fb_marketplace.parameters.vision import VisionParameters

EVALUATED: Final = {
    "photos": "one photo",
    "products": "a listing by its photos",
    "products_text": "a listing by its text",
    "products_with_text": "a listing by photos and text",
}

METRICS: Final = {"top1": "right", "top3": "right among three", "macro_f1": "macro F1"}


def write_model_card(
    vision_metrics: dict[str, Any],
    calibration: dict[str, Any],
    encoder_report: dict[str, Any],
    leakage_report: dict[str, Any],
    vision_labels: list[str],
    content_digests: dict[str, str],
    parameters: VisionParameters,
) -> str:
    """Write the card; every number in it comes from what is passed in.

    Args:
        vision_metrics: of :func:`evaluation.evaluate`.
        calibration: the temperature.
        encoder_report: what is served, and what int8 cost.
        leakage_report: what a careless split would have claimed.
        vision_labels: the categories.
        content_digests: of the data.
        parameters: the recipe.

    Returns:
        Markdown.
    """
    test = vision_metrics["test"]
    sections = [
        _introduction(vision_labels, encoder_report, parameters.embedding.layer),
        _data(vision_metrics, content_digests, leakage_report),
        _recipe(parameters),
        _measures(vision_metrics),
        _calibration(test, calibration),
        _abstention(vision_metrics),
        _encoder(encoder_report),
        _limits(test, leakage_report, parameters),
        _reproduction(),
    ]
    return "\n\n".join(sections) + "\n"


def format_value(estimate: Mapping[str, Any] | None) -> str:
    """Write an estimate with its interval; "none" where there is no case."""
    if estimate is None:
        return "none"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def _introduction(labels: list[str], encoder_report: dict[str, Any], layer: str) -> str:
    return f"""# Model card: the category of a photo

One network takes a photo of something for sale, and says which of {len(labels)} root categories it belongs
to, and gives the vector that similar photos are searched by (layer `{layer}`). Served as
{encoder_report.get("served", "fp32")}, in ONNX, from pixels to answers. Within, whole paths of categories
are told apart where photos were enough to learn them; a root category is as probable as all of its paths.

It is meant to suggest a category to a seller and to order search results, beside people who can say that
it is wrong; it is not meant to decide what may be sold.

Categories: {", ".join(labels)}."""


def _data(metrics: dict[str, Any], digests: dict[str, str], leakage: dict[str, Any]) -> str:
    rows = [
        (
            split,
            f"{number:,}",
            *(_counts(metrics.get(split, {}), of) for of in ("photos", "products_text")),
        )
        for split, number in leakage["photos"].items()
    ]
    found = ", ".join(f"{name} `{digest[:12]}`" for name, digest in sorted(digests.items()))
    return f"""## Data

{markdown_table(("split", "photos", "photos measured", "listings measured"), rows)}

Copies, near copies and listings that share a description are one group, and no group crosses splits.
Digests of the content: {found}."""


def _counts(of_split: Mapping[str, Any], of: str) -> str:
    estimate = of_split.get(f"{of}_top1")
    return f"{estimate['cases']:,} in {estimate['groups']:,} groups" if estimate else ""


def _recipe(parameters: VisionParameters) -> str:
    rows = [(f"`{name}`", value) for name, value in _flat(parameters.model_dump(mode="json"))]
    return f"""## Recipe

{markdown_table(("parameter", "value"), rows)}"""


def _measures(metrics: dict[str, Any]) -> str:
    rows = [
        (
            what,
            name,
            format_value(metrics["validation"][f"{of}_{metric}"]),
            format_value(test := metrics["test"][f"{of}_{metric}"]),
            f"{metrics['test'][f'{of}_{metric}_commonest_category']['value']:.3f}",
            f"{test['cases']:,}",
            f"{test['groups']:,}",
        )
        for of, what in EVALUATED.items()
        for metric, name in METRICS.items()
    ]
    head = ("what", "measure", "validation", "test", "trivial", "cases", "groups")
    test = metrics["test"]
    against = [
        (
            what,
            format_value(test[f"{of}_top1_frozen"]),
            format_value(test[f"{of}_top1_gain_over_frozen"]),
        )
        for of, what in EVALUATED.items()
        if f"{of}_top1_frozen" in test
    ]
    over_text = test["products_with_text_top1_gain_over_text"]
    return f"""## How good it is

This run chose on validation, and asked test about what it had chosen. Intervals are from a bootstrap over
groups. Trivial: always the commonest category of the training split (for "among three", the three
commonest).

{markdown_table(head, rows)}

Beside a linear layer on the frozen backbone, on the same cases of the test split:

{markdown_table(("what", "frozen, right", "gained"), against)}

Photos add {format_value(over_text)} to the share of listings that their text alone gets right."""


def _calibration(test: dict[str, Any], calibration: dict[str, Any]) -> str:
    names = {"photos_ece_uncalibrated": "one photo, before"}
    names |= {f"{of}_ece": f"{what}, after" for of, what in EVALUATED.items()}
    rows = [
        (
            what,
            format_value(test[name]),
            format_value(test[name]["root_mean_square"]),
            f"{test[name]['plain']:.3f}",
            test[name]["bins"],
            f"{test[name]['cases']:,}",
        )
        for name, what in names.items()
    ]
    head = ("what", "debiased ECE", "debiased root mean square", "plain ECE", "bins", "cases")
    return f"""## What its confidence is worth

Logits are divided by one temperature, {calibration["temperature"]:.3f}, fitted on validation
(Guo et al., 2017). Calibration error on test, in bins of equal mass. Plain ECE, the mean of absolute gaps,
is made larger by sampling alone; debiased (Kumar, Liang & Ma, 2019) it still is, somewhat, and the
root of the debiased mean square is not.

{markdown_table(head, rows)}"""


def _abstention(metrics: dict[str, Any]) -> str:
    rows, sets = [], []
    for of, chosen in metrics["choices"]["abstention"].items():
        found = metrics["test"]["abstention"][of]
        rows.append(
            (
                EVALUATED[of],
                f"{chosen['threshold']:.4f}",
                f"{chosen['error']:.0%}",
                *(format_value(found[name]) for name in ("error", "coverage", "error_of_all")),
            )
        )
        promised = f"{1 - chosen['error']:.0%}"
        sets.append(
            (
                EVALUATED[of],
                promised,
                format_value(found["set_coverage"]),
                format_value(found["set_size"]),
            )
        )
    assurance = max(chosen["assurance"] for chosen in metrics["choices"]["abstention"].values())
    head = (
        "what",
        "answers above",
        "promised error",
        "error, all cases",
        "answered",
        "error of all",
    )
    return f"""## When it says "not sure"

A threshold keeps the error among what is answered below what is promised, with a probability of
{assurance:.0%} over validation splits (Learn then Test; Angelopoulos et al., 2021); a threshold of 1
answers nothing. The promise is for one case drawn from each group; the error on test is over all cases,
where a group counts by its size. And it takes the model as given, though the same validation split chose
the epoch, the temperature and the weights of photos and text, which makes it somewhat too good. On test:

{markdown_table(head, rows)}

Sets of categories that hold the true one (split conformal prediction), promised and measured likewise:

{markdown_table(("what", "promised", "held, all cases", "categories in a set"), sets)}"""


def _encoder(encoder_report: dict[str, Any]) -> str:
    rows = [(f"`{name}`", value) for name, value in _flat(encoder_report)]
    return f"""## What is served

{markdown_table(("", "value"), rows)}"""


def _limits(test: dict[str, Any], leakage: dict[str, Any], parameters: VisionParameters) -> str:
    honest, random = leakage["honest"], leakage["random"]
    return f"""## Limits

- Categories are those that sellers chose; a wrong choice counts as truth, here and in training.
- It is wrong on {1 - test["photos_top1"]["value"]:.0%} of photos of the test split. The table by category
  and the sheet of the worst mistakes say where.
- A photo is read at {parameters.input_side} × {parameters.input_side} pixels.
- What it says of photos of another site, another country or another time has not been measured.
- Numbers of others may not compare: a linear layer on the frozen backbone gets
  {format_value(random["top1"])} on a random split by photo, and {format_value(honest["top1"])} on this one,
  a difference of {format_value(leakage["difference"])}. There,
  {random["sibling_in_training"]["value"]:.0%} of the test photos have
  one of their own group in training; here, {honest["sibling_in_training"]["value"]:.0%}."""


def _reproduction() -> str:
    return """## Again

`FB_LAKE=<lake> kedro run --pipeline=vision` makes the model, its measures and this card, in a lake where
`cleaning` and `baselines` have made the data with the digests above. It takes the parameters of `conf/`,
which may not be those that this model had: they stand under `parameters` in the run's record,
`runs/<version>.json` in its lake, with the code's revision, the libraries and the versions that were read.
Where they differ, write them there or pass them by `--params`."""


def _flat(found: Mapping[str, Any], above: str = "") -> list[tuple[str, object]]:
    """List values that lie in one another by their dotted names."""
    rows: list[tuple[str, object]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{above}{name}.")
        else:
            rows.append((f"{above}{name}", f"{value:.6g}" if isinstance(value, float) else value))
    return rows
