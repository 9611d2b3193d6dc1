import numpy as np
import pandas as pd
import pytest
from benchmarks.long.gate import LOST, draw, pairs_of

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.pipelines.release.case_metrics import COMPOSED, NAMES, SERVED
from fb_marketplace.pipelines.release.current_release import CASE_METRICS, CurrentRelease
from fb_marketplace.pipelines.release.gate import enforce_gate, evaluate_gate
from fb_marketplace.pipelines.release.paired_bootstrap import MACRO_METRICS, compare_cases
from fb_marketplace.storage.file_handles import FileRef

PAIRS = 100
REJECTIONS = {"products": {"rejected": 1, "input": 10, "share": 0.1}}


@pytest.fixture
def evaluate(tmp_path):
    """Evaluate the gate for case metrics of a new and of the current release."""

    def evaluate(new, current=None, reason="there is no current release", **changes):
        new.to_parquet(tmp_path / "measures.parquet", index=False)
        values = {
            "canaries": 1,
            "floors": {},
            "compare_with_current": True,
            "bootstrap_samples": 400,
            "confidence": 0.975,
        }
        release = (
            CurrentRelease("v1", current, "")
            if current is not None
            else CurrentRelease(None, None, reason)
        )
        parameters = ReleaseParameters(**values | {"seed": 0} | changes)
        return evaluate_gate(FileRef(str(tmp_path / "measures.parquet")), release, parameters)

    return evaluate


def case_metrics(values, names=NAMES, prefix="case"):
    """Give every metric these values; every case is a group."""
    rows = [
        (name, f"{prefix} {place}", f"group {place}", float(value))
        for name in names
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(CASE_METRICS))


HALF = [0, 1] * 100
WORSE = [0] * 40 + HALF[40:]


def test_unchanged_release_passes(evaluate):
    report = evaluate(case_metrics(HALF), case_metrics(HALF))

    assert enforce_gate(report, REJECTIONS) == report | {"rejections": REJECTIONS}
    assert set(report["compared"]) == {*NAMES, MACRO_METRICS}
    assert {pair["difference"] for pair in report["compared"].values()} == {0.0}


def test_first_release_is_compared_with_floors_only(evaluate):
    report = evaluate(case_metrics(HALF))

    assert report["rejected"] == []
    assert report["compared"] == {}
    assert report["not_compared"].keys() == set(NAMES)


def test_worse_release_is_rejected_with_values_and_interval(evaluate):
    current = case_metrics(HALF)
    new = pd.concat([case_metrics(HALF, NAMES[1:]), case_metrics(WORSE, NAMES[:1])])

    with pytest.raises(UserError) as caught:
        enforce_gate(evaluate(new, current), REJECTIONS)

    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("photo_top1", "0.400", "0.500", "v1", "200 "))
    assert "-0.100 [-0.1" in message
    assert "recall_at_1" not in message


@pytest.mark.parametrize("name", [*SERVED, COMPOSED])
def test_each_metric_of_the_search_can_reject(evaluate, name):
    others = [metric for metric in NAMES if metric != name]
    new = pd.concat([case_metrics(HALF, others), case_metrics(WORSE, [name])])

    assert any(
        line.startswith(f"{name} is 0.400")
        for line in evaluate(new, case_metrics(HALF))["rejected"]
    )
    (reason,) = evaluate(new, floors={name: 0.45})["rejected"]
    assert reason.startswith(f"{name} is 0.400 on 200 cases, below its floor of 0.450")


def test_better_release_passes(evaluate):
    assert evaluate(case_metrics(HALF), case_metrics(WORSE))["rejected"] == []


def test_insignificant_loss_passes(evaluate):
    new = HALF.copy()
    new[1] = new[3] = 0

    assert evaluate(case_metrics(new), case_metrics(HALF))["rejected"] == []


def test_release_below_floor_is_rejected(evaluate):
    report = evaluate(
        case_metrics(HALF), case_metrics(HALF), floors={"recall_at_1": 0.6, "photo_top1": 0.5}
    )

    (reason,) = report["rejected"]
    assert all(part in reason for part in ("recall_at_1", "0.500", "200", "0.600"))
    with pytest.raises(UserError, match=r"recall_at_1.*parameters_release"):
        enforce_gate(report, REJECTIONS)


def test_floor_of_unknown_metric_is_rejected(evaluate):
    with pytest.raises(UserError, match=r"floors.*\bphoto_top\b.*\bphoto_top1\b"):
        evaluate(case_metrics(HALF), floors={"photo_top": 0.5})


def test_metric_that_only_the_current_release_has_is_rejected(evaluate):
    new, current = case_metrics(HALF, NAMES[1:]), case_metrics(HALF)

    (reason,) = evaluate(new, current)["rejected"]
    assert "photo_top1" in reason
    assert evaluate(new, current, compare_with_current=False)["rejected"] == []


def test_first_release_may_lack_metrics(evaluate):
    report = evaluate(case_metrics(HALF, NAMES[1:]), floors={NAMES[0]: 0.5})

    assert report["rejected"] == []
    assert NAMES[0] not in report["metrics"]


def test_only_common_cases_are_compared(evaluate):
    others = case_metrics([0] * 300, prefix="other")

    report = evaluate(pd.concat([case_metrics(HALF), others]), case_metrics(HALF))

    assert report["rejected"] == []
    assert report["compared"]["photo_top1"]["cases"] == 200
    assert report["metrics"]["photo_top1"]["cases"] == 500


def test_comparison_can_be_skipped(evaluate):
    current, new = case_metrics(HALF), case_metrics(WORSE)

    assert evaluate(new, current)["rejected"]
    report = evaluate(new, current, compare_with_current=False)
    assert report["rejected"] == []
    assert report["not_compared"] == dict.fromkeys(NAMES, "release.compare_with_current is false")
    assert evaluate(new, current, compare_with_current=False, floors={"photo_top1": 0.5})[
        "rejected"
    ]


def test_disjoint_data_is_compared_with_floors_only(evaluate):
    report = evaluate(case_metrics(WORSE), case_metrics(HALF, prefix="other"))

    assert report["rejected"] == []
    assert report["compared"] == {}
    assert all("v1" in reason for reason in report["not_compared"].values())


def test_too_few_groups_are_not_compared(evaluate):
    report = evaluate(case_metrics([0] * 10), case_metrics([1] * 10))

    assert report["rejected"] == []
    assert "20 groups" in report["not_compared"]["photo_top1"]


def test_cases_are_compared_by_group(evaluate):
    """Forty worse photos of one listing count as one worse listing."""
    current, new = case_metrics(HALF, NAMES[:1]), case_metrics(WORSE, NAMES[:1])
    one = current.assign(group_id=["one"] * 40 + current["group_id"].tolist()[40:])
    rest = case_metrics(HALF, NAMES[1:])

    separate = evaluate(pd.concat([new, rest]), pd.concat([current, rest]))
    grouped = evaluate(
        pd.concat([new.assign(group_id=one["group_id"]), rest]), pd.concat([one, rest])
    )

    assert separate["rejected"]
    assert grouped["rejected"] == []


def count_rejections(lost):
    """Count the simulated pairs of which the new release is rejected."""
    compared = [
        compare_cases(pairs_of(draw(np.random.default_rng([1, pair]), lost)), 200, 0.975, pair)
        for pair in range(PAIRS)
    ]
    return sum(any(metric.is_worse for metric in metrics.values()) for metrics in compared)


@pytest.mark.slow
def test_equal_release_is_rejected_at_most_5_percent():
    assert count_rejections({}) <= 5


@pytest.mark.slow
def test_three_point_loss_is_rejected_at_least_80_percent():
    assert count_rejections(LOST) >= 80
