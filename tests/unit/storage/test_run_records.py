import json

import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.storage.lake import Lake


def record(version, **created):
    return RunRecord(
        version=version,
        pipelines=("cleaning",),
        environment="base",
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:01:00+00:00",
        inputs={},
        outputs=created,
        parameters={},
        libraries={},
        code_revision="abc",
    )


@pytest.fixture(params=["disk", "memory"])
def records(request, tmp_path):
    return RunRecords(
        Lake(str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}")
    )


def test_record_round_trips(records):
    written = record("v1", products="v1")
    records.write(written)

    assert list(records.newest_first()) == [written]


def test_records_are_sorted_newest_first(records):
    for version in ("2026-02-01T00.00.00.000Z", "2026-01-01T00.00.00.000Z"):
        records.write(record(version))

    assert [item.version[:7] for item in records.newest_first()] == ["2026-02", "2026-01"]


def test_latest_is_of_last_run_that_made_it(records):
    records.write(record("v1", products="v1", encoder="v1"))
    records.write(record("v2", products="v2"))

    assert records.latest(["products", "encoder", "release"]) == {"products": "v2", "encoder": "v1"}


def test_lake_without_runs_has_no_latest(records):
    assert records.latest(["products"]) == {}


def test_partial_record_is_ignored(tmp_path):
    records = RunRecords(Lake(str(tmp_path)))
    records.write(record("v1", products="v1"))
    (tmp_path / "runs/.v2.part").write_text('{"version": "v2", "ma')

    assert records.latest(["products"]) == {"products": "v1"}


def test_only_the_record_is_left_on_disk(tmp_path):
    RunRecords(Lake(str(tmp_path))).write(record("v1"))

    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["v1.json"]
    assert json.loads((tmp_path / "runs/v1.json").read_text())["code_revision"] == "abc"


def test_record_of_older_layout_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/v1.json").write_text('{"version": "v1", "made": {}}')
    records = RunRecords(Lake(str(tmp_path)))

    for read in (records.check_layout, lambda: records.latest(["products"])):
        with pytest.raises(UserError, match=r"fb-marketplace 0\.1.*FB_LAKE") as refused:
            read()
        assert "\n" not in str(refused.value)


START = "2026-03-01T12.00.00.250Z"


@pytest.mark.parametrize(
    ("version", "ended", "expected"),
    [
        ("2026-03-01T11.00.00.000Z", "2026-03-01T11:30:00+00:00", START),
        ("2026-03-01T11.00.00.000Z", "2026-03-01T12:00:00+00:00", START),
        ("2026-03-01T13.00.00.900Z", "2026-03-01T13:30:00+00:00", "2026-03-01T13.30.01.250Z"),
        ("2026-03-01T11.00.00.000Z", "2026-03-01T14:30:00+01:00", "2026-03-01T13.30.01.250Z"),
        ("2026-03-01T12.00.00.250Z", "2026-03-01T12:00:00+00:00", "2026-03-01T12.00.01.250Z"),
        ("2027-01-01T00.00.00.000Z", "2026-03-01T11:00:00+00:00", "2027-01-01T00.00.01.250Z"),
    ],
)
def test_next_version_is_larger_than_all_others(records, version, ended, expected):
    records.write(record("2026-01-01T00.00.00.000Z"))
    records.write(record(version).model_copy(update={"ended": ended}))

    assert records.next_version(START) == expected


def test_next_version_is_larger_than_those_of_releases(records):
    records.lake.create("releases/2026-05-01T00.00.00.000Z.json", b"{}")
    records.lake.create("releases/current.json", b"{}")

    assert records.next_version(START) == "2026-05-01T00.00.01.250Z"


def test_next_version_of_an_empty_lake_is_its_start(records):
    assert records.next_version(START) == START


def test_skipped_dataset_has_no_latest_version(records):
    records.write(record("v1", ranker="v1", products="v1"))
    records.write(record("v2", products="v2").model_copy(update={"skipped": {"ranker": "empty"}}))

    assert records.latest(["ranker", "products"]) == {"products": "v2"}
    assert records.skipped(["ranker", "products"]) == {"ranker": "empty"}

    records.write(record("v3", ranker="v3"))

    assert records.latest(["ranker"]) == {"ranker": "v3"}
    assert records.skipped(["ranker"]) == {}
