import json
from pathlib import Path

import pytest

from fb_marketplace_serving.release.history import format_table, list_releases
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import publish, read_pointer, set_current
from fb_marketplace_serving.storage.lake import Lake

METRICS = {
    "vision": {"test": {"photos_top1": {"value": 0.5731}}},
    "retrieval": {"all_photos": {"same_product_recall_at_10": {"value": 0.69}}},
}


@pytest.fixture
def three(lake, draft):
    """A lake with three releases, the second one current, and a damaged manifest."""
    later = {
        "v2": ("2026-03-01T13:30:00+01:00", {"photos": 12_345, "products": 678}, METRICS),
        "v3": ("2026-02-01T00:00:00", {}, {"vision": "none"}),
    }
    for version, (created, counts, metrics) in later.items():
        update = {"version": version, "created": created, "counts": counts, "metrics": metrics}
        publish(Lake(lake), draft.model_copy(update=update))
    set_current(Lake(lake), "v1", read_pointer(Lake(lake)))
    Path(lake, "releases/v0.json").write_text('{"version": "v0"}')
    return lake


def test_releases_are_sorted_newest_first_unreadable_last(three):
    assert [item.version for item in list_releases(Lake(three))] == ["v2", "v1", "v3", "v0"]


def test_current_release_is_marked(three):
    assert [item.version for item in list_releases(Lake(three)) if item.is_current] == ["v1"]
    (marked,) = (line for line in format_table(list_releases(Lake(three))) if line.startswith("*"))
    assert marked.split()[1] == "v1"


def test_table_shows_each_release(three):
    head, newest, _, least, unreadable = format_table(list_releases(Lake(three)))

    assert head.split()[:5] == ["version", "created", "code", "photos", "products"]
    assert newest.split() == [
        *("v2", "2026-03-01T13:30:00+01:00", "abc123", "12,345", "678", "0.573", "–", "0.690"),
    ]
    assert least.split()[-5:] == ["–"] * 5
    assert "v0" in unreadable
    assert "releases/v0.json" in unreadable


def test_json_shows_all_metrics_of_each_release(three):
    newest, in_force, _, unreadable = json.loads(
        json.dumps([item.to_json() for item in list_releases(Lake(three))])
    )

    assert newest == {
        "version": "v2",
        "is_current": False,
        "created": "2026-03-01T13:30:00+01:00",
        "code_revision": "abc123",
        "counts": {"photos": 12_345, "products": 678},
        "metrics": METRICS,
        "unreadable": None,
    }
    assert in_force["is_current"]
    assert "releases/v0.json" in unreadable["unreadable"]


def test_current_release_without_manifest_is_listed(lake):
    Path(lake, "releases/v1.json").unlink()

    (only,) = list_releases(Lake(lake))

    assert only.is_current
    assert "not found" in format_table([only])[0]


def test_releases_with_damaged_pointer_are_listed(lake):
    Path(lake, "releases/current.json").write_text("nothing")

    assert [item.is_current for item in list_releases(Lake(lake))] == [False]


def test_lake_without_releases_is_rejected(tmp_path):
    with pytest.raises(ReleaseError, match="kedro run"):
        list_releases(Lake(str(tmp_path)))


def test_releases_in_bucket_are_listed(bucket, draft):
    publish(Lake(bucket), draft)
    publish(Lake(bucket), draft.model_copy(update={"version": "v2"}))

    assert {item.version: item.is_current for item in list_releases(Lake(bucket))} == {
        "v1": False,
        "v2": True,
    }
