"""The versions of a run, with a pipeline of two nodes and no Kedro project."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner

from fb_marketplace.errors import UserError
from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace_serving.storage.lake import Lake

LETTERS = pa.schema([pa.field("key", pa.string(), nullable=False)])


def double(number: int) -> int:
    return 2 * number


def letters(number: int) -> pa.Table:
    return pa.table({"key": [f"{number}"]}, schema=LETTERS)


MAKE = Pipeline([node(double, "start", "number")])
USE = Pipeline([node(double, "number", "result")])
KEEP = Pipeline([node(letters, "number", "letters")])


@pytest.fixture
def lake(tmp_path):
    """Runs pipelines in a lake, each in a catalog of its own, as a process would."""

    def catalog(version):
        places = {
            "run_records": {
                "type": "fb_marketplace.datasets.path.InLakeDataset",
                "filepath": str(tmp_path),
                "opened_by": "fb_marketplace.storage.run_records.RunRecords",
            },
            "letters": {
                "type": "fb_marketplace.datasets.lance_table.LanceTableDataset",
                "filepath": str(tmp_path / "letters.lance"),
                "schema": f"{__name__}.LETTERS",
                "versioned": True,
            },
            "previous_table": {
                "type": "fb_marketplace.datasets.previous_version.PreviousParquetDataset",
                "filepath": str(tmp_path / "table.parquet"),
                "versioned": True,
                "metadata": {"previous_of": "table"},
            },
            "table": {
                "type": "pandas.ParquetDataset",
                "filepath": str(tmp_path / "table.parquet"),
                "versioned": True,
            },
        } | {
            name: {
                "type": "json.JSONDataset",
                "filepath": str(tmp_path / f"{name}.json"),
                "versioned": True,
            }
            for name in ("number", "result")
        }
        created = DataCatalog.from_config(places, save_version=version)
        created["start"] = 21
        created["params:told"] = {"a": 1}
        return created

    def run(pipeline, version, load_versions=None, between=None, ends=True, runner=None):
        hooks, its_catalog = VersioningHooks(), catalog(version)
        values = {
            "run_id": version,
            "load_versions": load_versions,
            "pipeline_names": ["some"],
            "env": None,
            "runner": runner,
        }
        hooks.before_pipeline_run(values, pipeline, its_catalog)
        if between:
            between()
        SequentialRunner().run(pipeline, its_catalog)
        if ends:
            hooks.after_pipeline_run(values, pipeline, its_catalog)
        return its_catalog

    return SimpleNamespace(run=run, records=RunRecords(Lake(str(tmp_path))), root=tmp_path)


def write_by_hand(lake, name, version, value):
    path = lake.root / f"{name}.json" / version / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(value))


def result_of(lake, version):
    return json.loads((lake.root / f"result.json/{version}/result.json").read_text())


def test_successful_run_records_inputs_and_outputs(lake):
    lake.run(MAKE, "v1")
    lake.run(USE, "v2")

    second, first = lake.records.newest_first()
    assert (first.inputs, first.outputs) == ({}, {"number": "v1"})
    assert (second.inputs, second.outputs) == ({"number": "v1"}, {"result": "v2"})
    assert second.pipelines == ("some",)
    assert second.libraries["kedro"]


def test_output_of_failed_run_is_not_loaded(lake):
    lake.run(MAKE, "v1")
    lake.run(MAKE, "v2", ends=False)
    lake.run(USE, "v3")

    assert next(lake.records.newest_first()).inputs == {"number": "v1"}


def test_version_written_during_run_is_not_loaded(lake):
    lake.run(MAKE, "v1")

    lake.run(USE, "v2", between=lambda: write_by_hand(lake, "number", "v9", 1000))

    assert result_of(lake, "v2") == 84


def test_run_loads_its_own_output(lake):
    write_by_hand(lake, "number", "v9", 1000)

    lake.run(MAKE + USE, "v1")

    assert result_of(lake, "v1") == 84
    assert next(lake.records.newest_first()).outputs == {"number": "v1", "result": "v1"}


def test_requested_version_is_loaded(lake):
    lake.run(MAKE, "v1")
    write_by_hand(lake, "number", "v0", 5)

    lake.run(USE, "v2", {"number": "v0"})

    assert result_of(lake, "v2") == 10
    assert next(lake.records.newest_first()).inputs == {"number": "v0"}


def test_missing_input_stops_run_before_first_node(lake):
    with pytest.raises(UserError, match=r"\bnumber\b"):
        lake.run(USE, "v1")

    assert list(lake.records.newest_first()) == []


def test_run_without_versioned_output_has_no_record(lake):
    lake.run(Pipeline([node(double, "start", "in_memory")]), "v1")

    assert list(lake.records.newest_first()) == []


def test_parameters_are_recorded(lake):
    lake.run(Pipeline([node(len, "params:told", "number")]), "v1")

    assert next(lake.records.newest_first()).parameters == {"told": {"a": 1}}


def test_committed_table_is_tagged_with_version(lake):
    lake.run(MAKE + KEEP, "v1")
    url = str(lake.root / "letters.lance")
    table_writer.insert(url, pa.table({"key": ["other"]}, schema=LETTERS))

    assert keyed_table.open_table(url, "v1").read(["key"]).column("key").to_pylist() == ["42"]


def test_previous_table_is_loaded_while_rewritten(lake):
    grow = Pipeline([node(grown, "previous_table", "table")])
    lake.run(grow, "v1")
    lake.run(grow, "v2", ends=False)
    lake.run(grow, "v3")

    newest = next(lake.records.newest_first())
    assert newest.inputs == {"previous_table": "v1"}
    path = lake.root / "table.parquet/v3/table.parquet"
    assert len(pd.read_parquet(path)) == 2


def grown(previous: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"row": range(len(previous) + 1)})


@pytest.mark.parametrize(
    ("pipeline", "name"), [(USE, "letters"), (USE, "mistyped"), (USE, "result"), (MAKE, "number")]
)
def test_load_version_of_unread_dataset_is_rejected(lake, pipeline, name):
    lake.run(MAKE, "v1")

    with pytest.raises(UserError, match=rf"\b{name}\b"):
        lake.run(pipeline, "v2", {name: "v1"})
    assert [record.version for record in lake.records.newest_first()] == ["v1"]


def both(previous: pd.DataFrame, table: pd.DataFrame) -> int:
    return 10 * len(previous) + len(table)


def test_load_version_of_table_keeps_previous_table(lake):
    grow = Pipeline([node(grown, "previous_table", "table")])
    lake.run(grow, "v1")
    lake.run(grow, "v2")
    lake.run(Pipeline([node(both, ["previous_table", "table"], "result")]), "v3", {"table": "v1"})

    assert result_of(lake, "v3") == 21
    assert next(lake.records.newest_first()).inputs == {"previous_table": "v2", "table": "v1"}


@pytest.mark.parametrize("runner", ["ParallelRunner", "ThreadRunner"])
def test_parallel_runner_is_rejected(lake, runner):
    with pytest.raises(UserError, match=rf"{runner}.*--runner"):
        lake.run(MAKE, "v1", runner=runner)


@pytest.mark.parametrize("runner", [None, "SequentialRunner", "<SequentialRunner object at 0x1>"])
def test_default_runner_is_accepted(lake, runner):
    lake.run(MAKE, "v1", runner=runner)

    assert next(lake.records.newest_first()).version == "v1"


def test_run_after_the_clock_was_set_back_is_the_latest(lake):
    lake.run(MAKE, "2026-02-01T00.00.00.000Z")
    lake.run(MAKE, "2026-01-01T00.00.00.000Z")
    lake.run(USE, "2026-01-01T00.00.05.000Z")

    last, second, first = lake.records.newest_first()
    assert first.version == "2026-02-01T00.00.00.000Z" < second.version < last.version
    assert last.inputs == {"number": second.version}
    assert result_of(lake, last.version) == 84


def test_outputs_reach_the_disk_before_the_record(lake, monkeypatch):
    flushed, at_record = [], []
    fsync, write = os.fsync, RunRecords.write

    def record_fsync(descriptor):
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def record_write(records, record):
        at_record.extend(flushed)
        write(records, record)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(RunRecords, "write", record_write)
    lake.run(MAKE, "v1")

    output = lake.root / "number.json/v1/number.json"
    assert {output, *output.parents[:3]} <= set(at_record)
    assert flushed[-2:] == [lake.root / "runs", lake.root]
