import numpy as np
import pandas as pd
import pytest
from benchmarks.long.gate import LOST, draw, pairs_of

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.pipelines.release.case_metrics import NAMES
from fb_marketplace.pipelines.release.current_release import CASE_METRICS, CurrentRelease
from fb_marketplace.pipelines.release.gate import enforce_gate, evaluate_gate
from fb_marketplace.pipelines.release.paired_bootstrap import MACRO_METRICS, compare_cases
from fb_marketplace.storage.file_handles import FileRef

PAIRS = 100


@pytest.fixture
def ask(tmp_path):
    """Compare metrics with those of the current release."""

    def ask(ours, theirs=None, message="there is no release in force", **changes):
        ours.to_parquet(tmp_path / "measures.parquet", index=False)
        settings_given = {
            "canaries": 1,
            "floors": {},
            "compare_with_current": True,
            "bootstrap_samples": 400,
            "confidence": 0.975,
        }
        in_force = (
            CurrentRelease(None, None, message)
            if theirs is None
            else CurrentRelease("v1", theirs, "")
        )
        parameters = ReleaseParameters(**settings_given | {"seed": 0} | changes)
        return evaluate_gate(FileRef(str(tmp_path / "measures.parquet")), in_force, parameters)

    return ask


def measures(values, names=NAMES, prefix="case"):
    """Each measure has these values, a group a case."""
    rows = [
        (name, f"{prefix} {place}", f"group {place}", float(value))
        for name in names
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(CASE_METRICS))


HALF = [0, 1] * 100
WORSE = [0] * 40 + HALF[40:]


def test_unchanged_release_passes(ask):
    report = ask(measures(HALF), measures(HALF))

    assert enforce_gate(report) is report
    assert set(report["compared"]) == {*NAMES, MACRO_METRICS}
    assert {item["difference"] for item in report["compared"].values()} == {0.0}


def test_first_release_is_compared_with_floors_only(ask):
    report = ask(measures(HALF))

    assert report["refused"] == []
    assert report["compared"] == {}
    assert report["not_compared"].keys() == set(NAMES)


def test_worse_release_is_rejected_with_values_and_interval(ask):
    theirs = measures(HALF)
    ours = pd.concat([measures(HALF, NAMES[1:]), measures(WORSE, NAMES[:1])])

    with pytest.raises(UserError) as caught:
        enforce_gate(ask(ours, theirs))

    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("photo_top1", "0.400", "0.500", "v1", "200 "))
    assert "-0.100 [-0.1" in message
    assert "recall_at_1" not in message


def test_better_release_passes(ask):
    assert ask(measures(HALF), measures(WORSE))["refused"] == []


def test_insignificant_loss_passes(ask):
    ours = HALF.copy()
    ours[1] = ours[3] = 0

    assert ask(measures(ours), measures(HALF))["refused"] == []


def test_release_below_floor_is_rejected(ask):
    report = ask(measures(HALF), measures(HALF), floors={"recall_at_1": 0.6, "photo_top1": 0.5})

    (refused,) = report["refused"]
    assert all(part in refused for part in ("recall_at_1", "0.500", "200", "0.600"))
    with pytest.raises(UserError, match=r"recall_at_1.*parameters_release"):
        enforce_gate(report)


def test_floor_of_unknown_metric_is_rejected(ask):
    with pytest.raises(UserError, match=r"floors.*\bphoto_top\b.*\bphoto_top1\b"):
        ask(measures(HALF), floors={"photo_top": 0.5})


def test_missing_metric_is_rejected(ask):
    report = ask(measures(HALF, NAMES[1:]))

    (refused,) = report["refused"]
    assert "photo_top1" in refused


def test_only_common_cases_are_compared(ask):
    others = measures([0] * 300, prefix="other")

    report = ask(pd.concat([measures(HALF), others]), measures(HALF))

    assert report["refused"] == []
    assert report["compared"]["photo_top1"]["cases"] == 200
    assert report["measures"]["photo_top1"]["cases"] == 500


def test_comparison_can_be_skipped(ask):
    theirs, ours = measures(HALF), measures(WORSE)

    assert ask(ours, theirs)["refused"]
    report = ask(ours, theirs, compare_with_current=False)
    assert report["refused"] == []
    assert report["not_compared"] == dict.fromkeys(NAMES, "release.compare_with_current is false")
    assert ask(ours, theirs, compare_with_current=False, floors={"photo_top1": 0.5})["refused"]


def test_disjoint_data_is_compared_with_floors_only(ask):
    report = ask(measures(WORSE), measures(HALF, prefix="other"))

    assert report["refused"] == []
    assert report["compared"] == {}
    assert all("v1" in reason for reason in report["not_compared"].values())


def test_too_few_groups_are_not_compared(ask):
    report = ask(measures([0] * 10), measures([1] * 10))

    assert report["refused"] == []
    assert "20 groups" in report["not_compared"]["photo_top1"]


def test_cases_are_compared_by_group(ask):
    """Ten photos of one listing that is worse are one listing that is worse."""
    theirs, ours = measures(HALF, NAMES[:1]), measures(WORSE, NAMES[:1])
    one = theirs.assign(group_id=["one"] * 40 + theirs["group_id"].tolist()[40:])
    rest = measures(HALF, NAMES[1:])

    separate = ask(pd.concat([ours, rest]), pd.concat([theirs, rest]))
    together = ask(pd.concat([ours.assign(group_id=one["group_id"]), rest]), pd.concat([one, rest]))

    assert separate["refused"]
    assert together["refused"] == []


def refused_of_drawn(lost):
    """Of 100 drawn pairs, those in which the new release is called worse."""
    result = [
        compare_cases(pairs_of(draw(np.random.default_rng([1, pair]), lost)), 200, 0.975, pair)
        for pair in range(PAIRS)
    ]
    return sum(any(item.is_worse for item in pair.values()) for pair in result)


@pytest.mark.slow
def test_equal_release_is_rejected_at_most_5_percent():
    assert refused_of_drawn({}) <= 5


@pytest.mark.slow
def test_three_point_loss_is_rejected_at_least_80_percent():
    assert refused_of_drawn(LOST) >= 80
