"""Run reports of a small pipeline."""

import json
import mmap
import time
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner

from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.keyed_table import KeepOnly

LETTERS = pa.schema([pa.field("key", pa.string(), nullable=False)])
SECRET = "a-session-token-of-some-length"


def count(words: str) -> pd.DataFrame:
    return pd.DataFrame({"word": words.split()})


def letters(words: str, letters_held: frozenset[str]):
    expected = frozenset(words.split())
    yield KeepOnly(expected, letters_held)
    for key in sorted(expected - letters_held):
        yield pa.table({"key": [key]}, schema=LETTERS)


def slow(words: str):
    for _ in range(2):
        time.sleep(0.15)
        yield words.encode()


def held_much(words: str) -> str:
    # Of the system itself: the allocator may have kept as much from the tests before.
    with mmap.mmap(-1, 300_000_000) as existing:
        for page in range(0, len(existing), mmap.PAGESIZE):
            existing[page] = 1
        time.sleep(0.2)
        return f"{len(existing)}"


def after_it(much: str) -> str:
    time.sleep(0.1)
    return much


def breaks(table: pd.DataFrame) -> str:
    raise ValueError(f"broken by {SECRET} of s3://key:word@bucket")


def never(broken: str) -> str:
    return broken


def reads_photos(words: str) -> str:
    with Progress("photos read", 5, 3) as progress:
        progress.advance(2)
    return words


COUNT = Pipeline([node(count, "words", "table")])
LETTER = Pipeline([node(letters, ["words", "letters_held"], "letters")])


@pytest.fixture
def reported(tmp_path):
    """Runs a pipeline, as a session does; gives the report that it left."""

    def reported(pipeline, version="v1", words="a b c"):
        place = "fb_marketplace.datasets.path.PathDataset"
        table = str(tmp_path / "letters.lance")
        entries = {
            "run_report": {
                "type": "json.JSONDataset",
                "filepath": str(tmp_path / "08_reporting/run_report.json"),
                "versioned": True,
            },
            "table": {
                "type": "pandas.ParquetDataset",
                "filepath": str(tmp_path / "table.parquet"),
                "versioned": True,
            },
            "letters": {
                "type": "fb_marketplace.datasets.lance_table.LanceTableDataset",
                "filepath": table,
                "schema": f"{__name__}.LETTERS",
                "versioned": True,
            },
            "letters_held": {
                "type": place,
                "filepath": table,
                "opened_by": "fb_marketplace.storage.keyed_table.existing_keys",
            },
            "file": {
                "type": "fb_marketplace.datasets.file.FileDataset",
                "filepath": str(tmp_path / "file"),
            },
        }
        catalog = DataCatalog.from_config(entries, save_version=version)
        catalog["words"] = words
        manager = _create_hook_manager()
        manager.register(ReportingHooks())
        values = {"run_id": version, "pipeline_names": ["some"], "env": None}
        about = {"run_params": values, "pipeline": pipeline, "catalog": catalog}
        manager.hook.before_pipeline_run(**about)
        try:
            SequentialRunner().run(pipeline, catalog, manager, version)
        except ValueError as error:
            manager.hook.on_pipeline_error(error=error, **about)
        else:
            manager.hook.after_pipeline_run(run_result={}, **about)
        path = tmp_path / f"08_reporting/run_report.json/{version}/run_report.json"
        if not path.exists():
            return None
        report = json.loads(path.read_text())
        nodes = {
            item["node"].partition("__")[0].partition("(")[0]: item for item in report["nodes"]
        }
        return SimpleNamespace(report=report, nodes=nodes, catalog=catalog)

    return reported


def test_report_has_inputs_and_outputs_of_nodes(reported):
    values = reported(COUNT + Pipeline([node(len, "table", "length")]))

    assert values.report["ended"] == "well"
    assert values.nodes["count"]["outputs"] == {"table": {"rows": 3}}
    assert values.nodes["len"]["inputs"] == {"table": {"rows": 3}}
    assert values.nodes["count"]["state"] == "computed"


def test_node_in_stage_is_reported_without_it(reported):
    stage = Pipeline(
        [node(count, "words", "table", name="count")],
        namespace="stage",
        prefix_datasets_with_namespace=False,
    )

    assert "count" in reported(stage).nodes


def test_report_is_saved_in_the_catalog(reported):
    values = reported(COUNT)

    assert values.catalog.load("run_report") == values.report


def test_rows_of_earlier_run_are_reported_as_reused(reported):
    first = reported(LETTER, "v1", "a b")
    second = reported(LETTER, "v2", "b c")
    third = reported(LETTER, "v3", "c b")

    created = [item.nodes["letters"]["outputs"]["letters"] for item in (first, second, third)]
    assert created[0] == {"reused": 0, "removed": 0, "rows": 2}
    assert created[1] == {"reused": 1, "removed": 1, "rows": 1}
    assert created[2] == {"reused": 2, "removed": 0}
    states = [item.nodes["letters"]["state"] for item in (first, second, third)]
    assert states == ["computed", "computed", "reused"]


def test_long_work_reports_its_own_reuse(reported):
    values = reported(COUNT + Pipeline([node(reads_photos, "words", "read")]))

    assert values.nodes["reads_photos"]["work"] == [
        {"task": "photos read", "computed": 2, "reused": 3}
    ]


def test_time_of_node_includes_saved_generator(reported):
    values = reported(COUNT + Pipeline([node(slow, "words", "file")]))

    assert values.nodes["slow"]["seconds"] >= 0.3
    assert values.nodes["slow"]["outputs"] == {"file": {"bytes": 10}}
    assert values.nodes["count"]["seconds"] < 10


def test_peak_memory_is_attributed_to_its_node(reported):
    nodes = [node(held_much, "words", "much"), node(after_it, "much", "after")]

    values = reported(COUNT + Pipeline(nodes))

    peak = {name: item["peak_memory_mb"] for name, item in values.nodes.items()}
    assert peak["held_much"] > peak["after_it"] + 200
    assert values.report["peak_memory_mb"] >= peak["held_much"]


def test_failed_run_reports_finished_and_skipped_nodes(reported, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    nodes = [node(breaks, "table", "broken"), node(never, "broken", "end")]

    values = reported(COUNT + Pipeline(nodes))

    assert values.report["ended"] == "failed"
    assert values.report["error"] == "broken by *** of s3://***@bucket"
    assert values.nodes["breaks"]["state"] == "failed"
    assert [item.partition("__")[0].partition("(")[0] for item in values.report["skipped"]] == [
        "never"
    ]


def test_run_without_outputs_has_no_report(reported):
    assert reported(Pipeline([node(len, "words", "length")])) is None
