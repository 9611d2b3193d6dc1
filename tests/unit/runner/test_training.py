"""Models that are kept, or trained again, after their data or recipe has changed."""

import json
from collections import Counter

import pandas as pd
import pyarrow as pa
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from pydantic import ValidationError

from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace.parameters.base import RetrainedParameters, WhenGrown
from fb_marketplace.runner.incremental_runner import IncrementalRunner, RecomputingRunner
from fb_marketplace.runner.training import SKETCH_SIZE, TrainingNodes, data_change, sketch
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.run_records import NodeFingerprint, RunRecords, TrainingInputs
from fb_marketplace_serving.storage.lake import Lake

ROWS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("key", "title", "weights")]
)
EXECUTED: Counter[str] = Counter()


class Recipe(RetrainedParameters):
    depth: int = 1


def clean(table):
    return table


def select_corpus(cleaned):
    return cleaned["title"].tolist()


def embed(cleaned, weights, etag):
    keys = [f"{weights} {title} {etag}" for title in cleaned["title"]]
    yield KeepOnly(frozenset(keys))
    rows = {"key": keys, "title": cleaned["title"], "weights": [weights] * len(keys)}
    yield pa.table(rows, schema=ROWS)


def train(cleaned, recipe):
    EXECUTED["train"] += 1
    if len(cleaned) < 2:
        raise InsufficientDataError("one listing only")
    return {"classes": sorted(set(cleaned["category"])), "depth": recipe.depth}


def rank(corpus, embeddings, model, recipe):
    EXECUTED["rank"] += 1
    return {"listings": len(corpus)}


def predict(cleaned, model):
    EXECUTED["predict"] += 1
    return {"rows": len(cleaned)}


PIPELINE = Pipeline(
    [
        node(clean, "table", "cleaned", name="clean"),
        node(select_corpus, "cleaned", "corpus", name="select_corpus"),
        node(embed, ["cleaned", "params:weights", "params:etag"], "embeddings", name="embed"),
        node(train, ["cleaned", "params:recipe"], "model", name="train", tags="fit"),
        node(
            rank,
            ["corpus", "embeddings", "model", "params:rank"],
            "ranker",
            name="rank",
            tags="fit",
        ),
        node(predict, ["cleaned", "model"], "predictions", name="predict"),
    ]
)
TITLES = [(f"chair {number}", "Home" if number % 2 else "Sport") for number in range(100)]


@pytest.fixture
def write(tmp_path):
    def write(titles):
        table = pd.DataFrame(titles, columns=["title", "category"])
        table.insert(0, "row", range(len(table)))
        table.to_csv(tmp_path / "table.csv", index=False)

    write(TITLES)
    return write


@pytest.fixture
def run(tmp_path, write):
    """Run the pipeline as a session does, and return the nodes that trained."""
    versions = iter(range(100, 200))
    file = {"type": "json.JSONDataset", "versioned": True}
    models = {"metadata": {"kedro-viz": {"layer": "models"}}}
    entries = {
        "table": {"type": "pandas.CSVDataset", "filepath": str(tmp_path / "table.csv")},
        "cleaned": {
            "type": "pandas.ParquetDataset",
            "filepath": str(tmp_path / "cleaned.parquet"),
            "versioned": True,
            "metadata": {"recipe_columns": ["category"]},
        },
        "embeddings": {
            "type": "fb_marketplace.datasets.lance_table.LanceTableDataset",
            "filepath": str(tmp_path / "rows.lance"),
            "schema": f"{__name__}.ROWS",
            "versioned": True,
            "metadata": {"content_columns": ["title", "weights"]},
        },
        "model": file | models | {"filepath": str(tmp_path / "model.json")},
        "ranker": file | models | {"filepath": str(tmp_path / "ranker.json")},
        "predictions": file | {"filepath": str(tmp_path / "predictions.json")},
        "run_report": file | {"filepath": str(tmp_path / "08_reporting/run_report.json")},
        "run_records": {
            "type": "fb_marketplace.datasets.path.InLakeDataset",
            "filepath": str(tmp_path),
            "opened_by": "fb_marketplace.storage.run_records.RunRecords",
        },
    }

    def run(runner=IncrementalRunner, weights="a", etag="1", **values):
        EXECUTED.clear()
        version = f"2026-01-01T00.00.00.{next(versions)}Z"
        catalog = DataCatalog.from_config(entries, save_version=version)
        catalog["params:weights"] = weights
        catalog["params:etag"] = etag
        catalog["params:recipe"] = Recipe.model_validate(values)
        catalog["params:rank"] = Recipe()
        manager = _create_hook_manager()
        manager.register(VersioningHooks())
        manager.register(ReportingHooks())
        about = {
            "run_params": {
                "run_id": version,
                "pipeline_names": ["all"],
                "env": None,
                "load_versions": None,
                "runner": runner.__name__,
            },
            "pipeline": PIPELINE,
            "catalog": catalog,
        }
        manager.hook.before_pipeline_run(**about)
        runner().run(PIPELINE, catalog, manager, version)
        manager.hook.after_pipeline_run(run_result={}, **about)
        return {name for name in EXECUTED if name != "predict"}

    return run


def records(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").iterdir())]


def test_changed_data_keeps_the_models(run, write, tmp_path, caplog):
    assert run() == {"train", "rank"}
    write([*TITLES[1:], ("lamp", "Home"), ("desk", "Sport")])

    with caplog.at_level("INFO"):
        assert run() == set()

    assert EXECUTED == {"predict": 1}
    version = records(tmp_path)[0]["version"]
    expected = f"kept: trained on {version}, data changed since (+2.0%, -1.0%)"
    assert sum(expected in line for line in caplog.messages) == 2
    assert records(tmp_path)[-1]["retained"] == {"train": 0.02, "rank": 0.02}


def test_changed_parameter_trains_the_model_and_its_readers(run, write):
    run()
    write(TITLES[1:])

    assert run(depth=2) == {"train", "rank"}
    assert run(depth=2) == set()


def test_rule_is_not_part_of_the_recipe(run):
    run()

    assert run(retrain="always") == set()


def test_always_trains_on_changed_data(run, write):
    run(retrain="always")
    write(TITLES[1:])

    assert run(retrain="always") == {"train"}, "the model is the same, so the ranker is kept"


def test_when_grown_counts_from_the_latest_training(run, write):
    rule = {"retrain": {"when_grown": 0.1}}
    run(**rule)
    write(TITLES + [(f"lamp {number}", "Home") for number in range(9)])
    assert run(**rule) == set()
    write(TITLES + [(f"lamp {number}", "Home") for number in range(10)])
    assert run(**rule) == {"train"}
    write(TITLES + [(f"lamp {number}", "Home") for number in range(12)])

    assert run(**rule) == set()


def test_new_class_trains_again(run, write):
    run()
    write([*TITLES, ("boat", "Boats")])

    assert run() == {"train", "rank"}


def test_rows_of_another_model_train_again(run, write):
    run()
    write(TITLES[1:])

    assert run(weights="b") == {"rank"}


def test_same_rows_under_other_keys_train_nothing(run, tmp_path):
    run()

    assert run(etag="2") == set()
    assert records(tmp_path)[-1]["retained"] == {"rank": 0.0}


@pytest.mark.parametrize(
    ("table", "rows", "counts"), [("clicks", 2_000, 1), ("duplicates", 400, 0)]
)
def test_small_table_counts_if_one_row_is_a_small_share(table, rows, counts):
    names = ("listings", table)
    nodes = TrainingNodes(
        Pipeline([]), DataCatalog(dict.fromkeys(names, MemoryDataset([]))), {}, {}, str
    )

    def fingerprint(*sizes):
        data = {
            name: sketch(pd.DataFrame({"id": range(size)}))
            for name, size in zip(names, sizes, strict=True)
        }
        return NodeFingerprint(
            code="",
            libraries="",
            options="",
            inputs={},
            training=TrainingInputs(recipe={}, data=data),
        )

    then, now = fingerprint(30_000, rows), fingerprint(30_000, rows * 3 // 2)
    decision = nodes.decide(WhenGrown(when_grown=0.2), then, now)

    assert len(decision.reasons) == counts


def test_recompute_trains(run, write):
    run()
    write(TITLES[1:])

    assert run(RecomputingRunner) == {"train", "rank"}
    assert run() == set()


def test_missing_model_is_trained_again(run, write, tmp_path):
    run()
    write(TITLES[1:])
    next(tmp_path.glob("model.json/*/model.json")).unlink()

    assert "train" in run()


def test_training_that_lacked_data_is_tried_again(run, write, tmp_path):
    write(TITLES[:1])
    assert run() == {"train"}
    assert RunRecords(Lake(str(tmp_path))).trainings() == {}
    write(TITLES)

    assert run() == {"train", "rank"}
    assert RunRecords(Lake(str(tmp_path))).trainings().keys() == {"train", "rank"}

    write(TITLES[:1])
    run(depth=2)
    assert RunRecords(Lake(str(tmp_path))).trainings() == {}


def test_shares_of_large_tables_are_estimated():
    then = pd.DataFrame({"title": [f"chair {number}" for number in range(20_000)]})
    now = pd.DataFrame({"title": [f"chair {number}" for number in range(1_000, 24_000)]})

    change = data_change(sketch(then), sketch(now))

    assert len(sketch(then).lowest) == SKETCH_SIZE
    assert change.new == pytest.approx(0.2, abs=0.03)
    assert change.gone == pytest.approx(0.05, abs=0.03)


def test_shares_of_small_tables_are_exact():
    then = pd.DataFrame({"title": [f"chair {number}" for number in range(200)]})
    now = pd.DataFrame({"title": [f"chair {number}" for number in range(199, 399)]})

    change = data_change(sketch(then), sketch(now))

    assert change == pytest.approx((0.995, 0.995), abs=1e-9)


def test_first_rows_count_as_new():
    none, one = sketch(pd.DataFrame({"title": []})), sketch(pd.DataFrame({"title": ["chair"]}))

    assert data_change(none, one) == (1.0, 0.0)
    assert data_change(none, none) == (0.0, 0.0)
    assert data_change(one, none) == (0.0, 1.0)


@pytest.mark.parametrize("rule", ["never", {"when_grown": 0}, {"share": 0.1}, 0.2])
def test_other_rules_are_rejected(rule):
    with pytest.raises(ValidationError, match="retrain"):
        Recipe.model_validate({"retrain": rule})


def test_share_is_read():
    assert Recipe.model_validate({"retrain": {"when_grown": 0.2}}).retrain == WhenGrown(
        when_grown=0.2
    )
