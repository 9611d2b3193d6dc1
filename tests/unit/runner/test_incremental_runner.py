"""Runs of a small pipeline, one after the other in one lake."""

import json
import re
from collections import Counter

import pandas as pd
import pyarrow as pa
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node

from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace.runner import incremental_runner
from fb_marketplace.runner.incremental_runner import IncrementalRunner, RecomputingRunner
from fb_marketplace.skipping import InsufficientDataError, Skipped

ROWS = pa.schema([pa.field("key", pa.string(), nullable=False)])
EXECUTED: Counter[str] = Counter()


def clean(table: pd.DataFrame) -> pd.DataFrame:
    EXECUTED["clean"] += 1
    return table[table["price"] > 0].reset_index(drop=True)


def count(cleaned: pd.DataFrame) -> dict[str, int]:
    EXECUTED["count"] += 1
    return {"rows": len(cleaned)}


def encode(cleaned: pd.DataFrame) -> pa.Table:
    EXECUTED["encode"] += 1
    return pa.table({"key": cleaned["title"].astype(str).tolist()}, schema=ROWS)


def plan(cleaned: pd.DataFrame) -> list[str]:
    EXECUTED["plan"] += 1
    return cleaned["title"].tolist()


def report(planned: list[str], rows, limit: int) -> dict[str, int]:
    EXECUTED["report"] += 1
    return {"planned": len(planned), "rows": len(rows), "limit": limit}


def compare(cleaned: pd.DataFrame) -> dict[str, int]:
    EXECUTED["compare"] += 1
    if len(cleaned) < 2:
        raise InsufficientDataError("only one listing")
    return {"pairs": len(cleaned) - 1}


def plan_pairs(counts: dict[str, int]) -> list[int]:
    EXECUTED["plan_pairs"] += 1
    return list(range(counts["pairs"]))


def describe(counts: dict[str, int] | Skipped, limit: int) -> dict[str, str]:
    EXECUTED["describe"] += 1
    return {"counts": counts.reason if isinstance(counts, Skipped) else str(counts["pairs"])}


PIPELINE = Pipeline(
    [
        node(clean, "table", "cleaned", name="clean"),
        node(count, ["cleaned"], "counts", name="count"),
        node(encode, "cleaned", "rows", name="encode"),
        node(plan, "cleaned", "planned", name="plan"),
        node(report, ["planned", "rows", "params:limit"], "summary", name="report"),
    ]
)

SKIPPING = Pipeline(
    [
        node(clean, "table", "cleaned", name="clean"),
        node(compare, "cleaned", "counts", name="compare"),
        node(plan_pairs, "counts", "planned", name="plan_pairs"),
        node(report, ["planned", "cleaned", "params:limit"], "pair_report", name="report"),
        node(describe, ["counts", "params:limit"], "summary", name="describe"),
    ]
)


def entries(folder):
    json_file = {"type": "json.JSONDataset", "versioned": True}
    return {
        "table": {"type": "pandas.CSVDataset", "filepath": str(folder / "table.csv")},
        "cleaned": {
            "type": "pandas.ParquetDataset",
            "filepath": str(folder / "cleaned.parquet"),
            "versioned": True,
        },
        "counts": {**json_file, "filepath": str(folder / "counts.json")},
        "rows": {
            "type": "fb_marketplace.datasets.lance_table.LanceTableDataset",
            "filepath": str(folder / "rows.lance"),
            "schema": f"{__name__}.ROWS",
            "versioned": True,
        },
        "planned": {"type": "MemoryDataset"},
        "summary": {**json_file, "filepath": str(folder / "summary.json")},
        "pair_report": {**json_file, "filepath": str(folder / "pair_report.json")},
        "run_report": {**json_file, "filepath": str(folder / "08_reporting/run_report.json")},
        "run_records": {
            "type": "fb_marketplace.datasets.path.InLakeDataset",
            "filepath": str(folder),
            "opened_by": "fb_marketplace.storage.run_records.RunRecords",
        },
    }


@pytest.fixture
def run(tmp_path):
    """Run the pipeline as a session does, and return how often each node was executed."""
    versions = iter(range(100, 200))
    write_table(tmp_path, [("chair", 10), ("desk", 0)])

    def run(pipeline=PIPELINE, runner=IncrementalRunner, changed=(), limit=3):
        EXECUTED.clear()
        version = f"2026-01-01T00.00.00.{next(versions)}Z"
        catalog = DataCatalog.from_config(entries(tmp_path) | dict(changed), save_version=version)
        catalog["params:limit"] = limit
        manager = _create_hook_manager()
        manager.register(VersioningHooks())
        manager.register(ReportingHooks())
        values = {
            "run_id": version,
            "pipeline_names": ["all"],
            "env": None,
            "load_versions": None,
            "runner": runner.__name__,
        }
        about = {"run_params": values, "pipeline": pipeline, "catalog": catalog}
        manager.hook.before_pipeline_run(**about)
        runner().run(pipeline, catalog, manager, version)
        manager.hook.after_pipeline_run(run_result={}, **about)
        return set(EXECUTED)

    return run


def write_table(folder, rows):
    pd.DataFrame(rows, columns=["title", "price"]).to_csv(folder / "table.csv", index=False)


def records(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").iterdir())]


def last_report(folder):
    paths = (folder / "08_reporting/run_report.json").glob("*/run_report.json")
    return json.loads(max(paths).read_text())


def test_first_run_executes_each_node_once(run):
    assert run() == {"clean", "count", "encode", "plan", "report"}
    assert set(EXECUTED.values()) == {1}


def test_unchanged_run_executes_and_records_nothing(run, tmp_path, caplog):
    run()

    with caplog.at_level("INFO"):
        assert run() == set()
    assert len(records(tmp_path)) == 1
    assert caplog.messages[-1] == "No changes since run 2026-01-01T00.00.00.100Z"
    assert {node["state"] for node in last_report(tmp_path)["nodes"]} == {"reused"}


def test_changed_row_recomputes_what_depends_on_it(run, tmp_path):
    run()
    write_table(tmp_path, [("stool", 10), ("desk", 0)])

    assert run() == {"clean", "count", "encode", "plan", "report"}
    assert records(tmp_path)[-1]["outputs"].keys() >= {"cleaned", "rows", "summary"}
    assert last_report(tmp_path)["nodes"][0]["changes"] == ["table"]


def test_same_output_stops_recomputation(run, tmp_path):
    run()
    write_table(tmp_path, [("chair", 10), ("desk", 0), ("lamp", 0)])

    assert run() == {"clean"}
    assert records(tmp_path)[-1]["outputs"].keys() == {"cleaned", "run_report"}
    assert run() == set()


def test_changed_parameter_runs_the_nodes_in_memory_that_it_needs(run, tmp_path):
    run()

    assert run(limit=4) == {"plan", "report"}
    assert last_report(tmp_path)["nodes"][-1]["changes"] == ["params:limit"]
    assert run(limit=4) == set()


def test_missing_output_is_computed_again(run, tmp_path):
    run()
    next(tmp_path.glob("counts.json/*/counts.json")).unlink()

    assert run() == {"count"}


def test_missing_output_without_versions_is_computed_again(run, tmp_path):
    plain = {"counts": {"type": "json.JSONDataset", "filepath": str(tmp_path / "plain.json")}}
    run(changed=plain)
    assert run(changed=plain) == set()
    (tmp_path / "plain.json").unlink()

    assert run(changed=plain) == {"count"}


def test_changed_catalog_option_recomputes_readers(run, tmp_path):
    run()
    changed = {
        "table": {
            "type": "pandas.CSVDataset",
            "filepath": str(tmp_path / "table.csv"),
            "load_args": {"nrows": 1},
        }
    }

    assert run(changed=changed) == {"clean"}


def test_moved_source_with_equal_content_is_no_change(run, tmp_path):
    run()
    (tmp_path / "table.csv").rename(tmp_path / "moved.csv")
    moved = {"table": {"type": "pandas.CSVDataset", "filepath": str(tmp_path / "moved.csv")}}

    assert run(changed=moved) == set()


def test_input_that_does_not_affect_outputs_is_ignored(run, tmp_path):
    marked = {"metadata": {"affects_outputs": False}, **entries(tmp_path)["table"]}
    run(changed={"table": marked})
    write_table(tmp_path, [("stool", 10)])

    assert run(changed={"table": marked}) == set()


def test_source_without_a_digest_is_always_read(run, tmp_path):
    source = {
        "table": {
            "type": "fb_marketplace.datasets.path.PathDataset",
            "filepath": str(tmp_path / "table.csv"),
            "opened_by": "pandas.read_csv",
        }
    }
    run(changed=source)

    assert run(changed=source) == {"clean"}


def test_source_is_digested_once_per_run(run, monkeypatch):
    digested = Counter()
    original = incremental_runner.content_digest

    def counted(name, catalog):
        digested[name] += 1
        return original(name, catalog)

    monkeypatch.setattr(incremental_runner, "content_digest", counted)
    run(
        Pipeline(
            [
                node(clean, "table", "cleaned", name="clean"),
                node(count, "table", "counts", name="count"),
            ]
        )
    )

    assert digested["table"] == 1


def test_recomputing_runner_executes_all_and_later_runs_reuse(run):
    run()

    assert run(runner=RecomputingRunner) == {"clean", "count", "encode", "plan", "report"}
    assert run() == set()


def test_part_of_the_pipeline_reuses_and_is_reused(run):
    part = PIPELINE.only_nodes("clean", "count")

    assert run(part) == {"clean", "count"}
    assert run() == {"encode", "plan", "report"}
    assert run(part) == set()


def test_failed_run_is_not_reused(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pa, "table", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()

    assert run() == {"clean", "count", "encode", "plan", "report"}


def summary(folder):
    (path, *_) = sorted((folder / "summary.json").glob("*/summary.json"), reverse=True)
    return json.loads(path.read_text())["counts"]


def test_skipped_node_skips_what_needs_its_output(run, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert run(SKIPPING) == {"clean", "compare", "describe"}
    assert summary(tmp_path) == "only one listing"
    lines = [line for line in caplog.messages if "only one listing" in line]
    assert len(lines) == 1
    assert "compare" in lines[0]
    (record,) = records(tmp_path)
    assert record["skipped"] == dict.fromkeys(
        ("counts", "planned", "pair_report"), "only one listing"
    )
    assert not record["outputs"].keys() & record["skipped"].keys()


def test_skipped_node_is_not_executed_again(run, tmp_path):
    run(SKIPPING)

    assert run(SKIPPING) == set()
    assert len(records(tmp_path)) == 1
    assert run(SKIPPING, limit=4) == {"describe"}
    assert summary(tmp_path) == "only one listing"


def test_skipped_node_is_executed_once_its_input_suffices(run, tmp_path):
    run(SKIPPING)
    write_table(tmp_path, [("chair", 10), ("lamp", 20)])

    assert run(SKIPPING) == {"clean", "compare", "plan_pairs", "report", "describe"}
    assert summary(tmp_path) == "1"
    assert records(tmp_path)[-1]["skipped"] == {}


def test_output_of_an_earlier_run_is_not_read_once_its_node_is_skipped(run, tmp_path):
    write_table(tmp_path, [("chair", 10), ("lamp", 20)])
    run(SKIPPING)
    write_table(tmp_path, [("chair", 10)])
    run(SKIPPING.only_nodes("clean", "compare"))

    assert run(SKIPPING.only_nodes("describe"), limit=4) == {"describe"}
    assert summary(tmp_path) == "only one listing"
    assert run(SKIPPING.only_nodes("plan_pairs", "report")) == set()
    write_table(tmp_path, [("chair", 10), ("lamp", 20)])
    assert "compare" in run(SKIPPING)
    assert summary(tmp_path) == "1"


def read_other_format(counts: dict[str, int]) -> dict[str, int]:
    return {"rows": counts["listings"]}


@pytest.fixture
def partial():
    return Pipeline([node(read_other_format, "counts", "summary", name="read")])


@pytest.fixture
def whole_project(monkeypatch):
    monkeypatch.setattr(incremental_runner, "pipelines", {"__default__": PIPELINE})


def test_failure_on_input_of_earlier_version_names_it(run, partial, whole_project, monkeypatch):
    run()
    original = incremental_runner.node_fingerprint

    def with_other_code(one, *args):
        code = {"code": "other"} if one.name == "count" else {}
        return original(one, *args).model_copy(update=code)

    monkeypatch.setattr(incremental_runner, "node_fingerprint", with_other_code)

    with pytest.raises(KeyError, match="listings") as raised:
        run(partial)
    assert re.search(r"computed counts\..*`kedro run`", raised.value.__notes__[0])


def test_failure_on_input_of_same_version_has_no_note(run, partial, whole_project):
    run()

    with pytest.raises(KeyError, match="listings") as raised:
        run(partial)
    assert not hasattr(raised.value, "__notes__")


def test_unreadable_records_do_not_replace_the_error(run, partial, monkeypatch):
    run()
    monkeypatch.setattr(incremental_runner._Run, "_outdated_inputs", lambda *_: 1 / 0)

    with pytest.raises(KeyError, match="listings"):
        run(partial)
