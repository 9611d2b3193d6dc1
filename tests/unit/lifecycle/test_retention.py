"""Retention plans and pruning of a small lake."""

import contextlib
import os
import re
import string
import time
from datetime import timedelta

import pytest
from support.builders.small_lake import TABLE, SmallLake, version

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle import prune
from fb_marketplace.lifecycle.retention import JOURNAL, plan_pruning
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace.storage.table_writer import TableWriter
from fb_marketplace_serving.release.artifacts import read_verified, release_artifacts
from fb_marketplace_serving.release.manifest import read_manifest
from fb_marketplace_serving.release.pointer import CURRENT, read_pointer, set_current
from fb_marketplace_serving.storage.lake import Lake

AT_ONCE = timedelta(0)


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path / "lake")


@pytest.fixture
def three_days(lake):
    """Three whole runs, of which the last found other photos."""
    for day, keys in enumerate(("ab", "abc", "bcd"), start=1):
        lake.whole_run(day, keys)
    return lake


def planned(lake, keep=1, unrecorded_for=AT_ONCE):
    return plan_pruning(Lake(str(lake.root)), keep, unrecorded_for)


def names(plan, kind):
    return [item.name for item in plan.items if item.kind == kind]


def keys(url, version=None):
    return "".join(
        sorted(keyed_table.open_table(url, version).read(["key"]).column("key").to_pylist())
    )


def assert_whole(url):
    """Whatever is pointed to is there: files of releases with their digests, files of runs, tables."""
    store = Lake(url)
    for name in store.sizes("releases"):
        if name.endswith("Z.json"):
            for artifact in release_artifacts(
                store, read_manifest(Lake(url), name.removesuffix(".json"))
            ):
                read_verified(store, artifact)
    filesystem, root = open_root(url)
    for name in store.sizes("runs"):
        run = name.removesuffix(".json")
        assert filesystem.exists(f"{root}/05_model_input/splits.parquet/{run}/splits.parquet")
        assert keys(f"{url}/{TABLE}", run)


def test_runs_within_limit_are_kept(three_days):
    """Return the files without intermediate commits."""
    before = three_days.files()

    result = planned(three_days, keep=3)
    prune.prune(result)

    assert {item.kind for item in result.items} == {"table"}
    assert {path for path in before if TABLE not in path} <= three_days.files()
    assert_whole(str(three_days.root))


def test_data_of_older_runs_is_removed(three_days):
    prune.prune(planned(three_days))

    left = three_days.files()
    assert not [path for path in left if version(1) in path or version(2) in path]
    assert sum(path.startswith("work/") for path in left) == 2
    assert sum(path.endswith(".jpegs") for path in left) == 1
    assert_whole(str(three_days.root))


def test_second_prune_removes_nothing(three_days):
    prune.prune(planned(three_days))

    assert planned(three_days).items == ()


def test_planning_removes_nothing(three_days):
    before = three_days.files()

    assert planned(three_days).bytes > 0
    assert three_days.files() == before


def test_prune_removes_what_was_planned(three_days):
    """Return the files without Lance transactions and hints."""

    def size():
        result = [three_days.root / path for path in three_days.files()]
        return sum(path.stat().st_size for path in result if path.parent.name != "_transactions")

    result, before = planned(three_days), size()
    prune.prune(result)

    assert before - size() == pytest.approx(result.bytes, abs=100)


def test_inputs_of_kept_runs_are_kept(lake):
    for day, (created, read) in enumerate(
        [("encoder", {}), ("products", {}), ("index", {"encoder": version(1)}), ("index", {})], 1
    ):
        lake.file(f"06_models/{created}.bin", version(day))
        lake.record(version(day), [created], read)
    lake.file("06_models/encoder.bin", version(5))
    lake.record(version(5), ["encoder"])

    result = planned(lake, keep=3)

    assert result.runs == (version(5), version(4), version(3), version(2), version(1))
    assert names(planned(lake, keep=2), "run") == [version(3), version(1)]


def test_inputs_of_next_run_are_kept(lake):
    lake.file("06_models/encoder.bin", version(1))
    lake.record(version(1), ["encoder"])
    for day in range(2, 9):
        lake.file("03_primary/products.parquet", version(day))
        lake.record(version(day), ["products"])

    assert planned(lake).runs == (version(8), version(1))


def test_current_release_is_kept_after_rollback(three_days):
    url = str(three_days.root)
    set_current(Lake(url), version(1), read_pointer(Lake(url)))

    prune.prune(planned(three_days))

    assert set(three_days.files()) >= {f"releases/{version(day)}.json" for day in (1, 3)}
    assert f"runs/{version(1)}.json" not in three_days.files()
    assert_whole(url)


def test_publish_after_planning_stops_the_prune(three_days):
    url, result = str(three_days.root), planned(three_days)
    set_current(Lake(url), version(1), read_pointer(Lake(url)))
    before = three_days.files()

    with pytest.raises(UserError, match=re.escape(version(1))):
        prune.prune(result)

    assert three_days.files() == before


def test_damaged_pointer_stops_the_prune(three_days):
    three_days.put(CURRENT, b"{")

    with pytest.raises(UserError, match="fb-serve rollback"):
        planned(three_days)


def test_keeping_no_runs_is_rejected(three_days):
    with pytest.raises(UserError, match="--keep 0"):
        planned(three_days, keep=0)


def killed(lake, day):
    """A run that was killed before it wrote its record."""
    lake.file("03_primary/products.parquet", version(day))
    lake.commit("bcde", version(day))
    lake.commit("bcdef")
    lake.put("work/fingerprint9/state_0001.safetensors")
    lake.put("work/fingerprint9/state_0002.safetensors.77.part")


def test_files_before_compaction_are_kept_until_pruned(lake):
    url, letters = str(lake.root / TABLE), string.ascii_lowercase
    lake.whole_run(1, letters)
    lake.commit(letters[1:])
    compacted = TableWriter(url).compact(keyed_table.open_table(url).version)
    lake.whole_run(2, letters[1:])
    assert keyed_table.open_table(url, version(2)).version == compacted
    assert keys(url, version(1)) == letters

    prune.prune(planned(lake))

    assert keys(url, version(2)) == letters[1:]
    assert len([path for path in lake.files() if path.startswith(f"{TABLE}/data/")]) == 1
    assert not [path for path in lake.files() if path.startswith(f"{TABLE}/_deletions/")]


def test_outputs_of_running_run_are_kept(three_days):
    killed(three_days, 4)
    before = three_days.files()

    result = planned(three_days, keep=3)
    prune.prune(result)

    assert result.active == (version(4),)
    assert three_days.files() >= {path for path in before if version(4) in path}
    assert keys(str(three_days.root / TABLE)) == "bcdef"


def test_inputs_of_running_run_are_kept(three_days):
    """It began on the second day, before the third run did, which ended meanwhile."""
    three_days.file("08_reporting/report.json", "2026-01-02T18.00.00.000Z")

    result = planned(three_days, unrecorded_for=timedelta(days=1))

    assert version(2) in result.runs
    assert version(1) not in result.runs
    assert not names(result, "photos")


def test_data_of_killed_run_is_removed_after_next_run(three_days):
    killed(three_days, 4)
    three_days.whole_run(5, "bcd")
    left = {
        three_days.put("07_model_output/photos/.abc.jpegs.x1y2"),
        three_days.put(".doctor-0123.part"),
    }

    result = planned(three_days, keep=5)
    prune.prune(result)

    assert names(result, "version") == [f"03_primary/products.parquet @ {version(4)}"]
    assert names(result, "tag") == [f"{TABLE} @ {version(4)}"]
    assert names(result, "work") == ["work/fingerprint9"]
    assert left <= set(names(result, "leftover"))
    assert not left & three_days.files()
    assert planned(three_days, keep=5).items == ()
    assert [keys(str(three_days.root / TABLE), version(day)) for day in (1, 2, 3, 5)] == [
        *("ab", "abc", "bcd", "bcd")
    ]


def test_data_of_killed_run_is_kept_for_given_time(three_days):
    killed(three_days, 4)
    three_days.whole_run(5, "bcd")

    assert not planned(three_days, keep=5, unrecorded_for=timedelta(hours=1)).items

    hour_ago = time.time() - 3700
    for path in three_days.root.rglob("*"):
        os.utime(path, (hour_ago, hour_ago))
    result = planned(three_days, keep=5, unrecorded_for=timedelta(hours=1))
    assert {"version", "tag", "work"} <= {item.kind for item in result.items}


def test_uncommitted_data_is_removed(three_days):
    prune.prune(planned(three_days, keep=3))
    stray = three_days.put(f"{TABLE}/data/stray.lance", b"x" * 5000)

    result = planned(three_days, keep=3)
    prune.prune(result)

    assert names(result, "table") == [TABLE]
    assert result.bytes == 5000
    assert stray not in three_days.files()


def test_data_of_pending_commit_is_kept(three_days):
    prune.prune(planned(three_days, keep=3))
    three_days.put(f"{TABLE}/data/stray.lance")

    assert planned(three_days, keep=3, unrecorded_for=timedelta(hours=1)).items == ()


def test_checkpoints_of_kept_or_recent_training_are_kept(three_days):
    assert names(planned(three_days, keep=2), "work") == ["work/fingerprint1"]
    assert not names(planned(three_days, keep=2, unrecorded_for=timedelta(hours=1)), "work")


def test_other_files_are_kept(three_days):
    foreign = {
        three_days.put("01_raw/Assets/Products.csv"),
        three_days.put(f"01_raw/images/{version(1)}/images"),
        three_days.put("08_reporting/.gitkeep", b""),
        three_days.put("08_reporting/notes.txt"),
        three_days.put("keep/notes.txt"),
    }
    keyed_table.tag(str(three_days.root / TABLE), "of-mine", 2)

    prune.prune(planned(three_days))

    assert foreign <= three_days.files()
    assert keys(str(three_days.root / TABLE), "of-mine") is not None


@pytest.mark.parametrize("step", range(1, 26, 4))
def test_killed_prune_resumes(three_days, monkeypatch, step):
    url, done, remove = str(three_days.root), [], prune._remove

    def dies(lake, item):
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(item)
        remove(lake, item)

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(prune, "_remove", dies)
        prune.prune(planned(three_days))
    assert_whole(url)

    # A week has not passed since, and yet what it left is known to be nobody's.
    prune.prune(planned(three_days, unrecorded_for=timedelta(days=7)))

    left = three_days.files()
    assert not [path for path in left if version(1) in path or version(2) in path]
    assert sum(path.endswith(".jpegs") for path in left) == 1
    assert JOURNAL not in left
    assert_whole(url)


def test_prune_in_bucket_equals_prune_on_disk(three_days, seaweed, monkeypatch):
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    killed(three_days, 4)
    three_days.whole_run(5, "bcd")
    url = f"{seaweed.make_bucket('pruned')}/lake"
    seaweed.upload(three_days.root, url)
    filesystem, root = open_root(url)

    result = plan_pruning(Lake(url), 1, AT_ONCE)
    on_disk = planned(three_days)
    prune.prune(result)

    output = [(item.kind, item.name, item.bytes) for item in result.items]
    assert output == [(item.kind, item.name, item.bytes) for item in on_disk.items]
    assert plan_pruning(Lake(url), 1, AT_ONCE).items == ()
    assert not [path for path in filesystem.find(root) if version(1) in path]
    assert_whole(url)


def test_prune_does_not_change_pointer(three_days):
    """The pointer is written by no prune."""
    before = (three_days.root / CURRENT).read_bytes()

    prune.prune(planned(three_days))

    assert (three_days.root / CURRENT).read_bytes() == before


def test_prune_after_the_clock_was_set_back(three_days):
    records = RunRecords(Lake(str(three_days.root)))
    second = records.next_version("2026-01-02T12.00.00.000Z")
    three_days.file("05_model_input/splits.parquet", second)
    three_days.record(second, ["splits"], {"images": version(3)})
    active = records.next_version("2026-01-02T13.00.00.000Z")
    three_days.file("05_model_input/splits.parquet", active)

    result = planned(three_days, unrecorded_for=timedelta(days=7))
    prune.prune(result)

    assert version(3) < second < active
    assert result.active == (active,)
    assert set(result.runs) == {second, version(3)}
    left = three_days.files()
    for run in (version(3), second, active):
        assert f"05_model_input/splits.parquet/{run}/splits.parquet" in left
    assert not [
        path for path in left if path.startswith(("runs/", "releases/")) and version(1) in path
    ]
    assert records.latest(["splits"]) == {"splits": second}
