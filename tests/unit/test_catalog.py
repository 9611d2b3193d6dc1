"""Contracts between configuration and pipelines."""

import copy
import json
import os
import subprocess
import sys
import typing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from omegaconf.errors import InterpolationResolutionError
from pydantic import BaseModel, ValidationError

from fb_marketplace.parameters import cleaning
from fb_marketplace.parameters.compute import ComputeParameters
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipeline_registry import LazyPipeline, register_pipelines
from fb_marketplace.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
PIPELINES = register_pipelines()
DATASETS = sorted(
    {
        name
        for pipeline in PIPELINES.values()
        for name in pipeline.datasets()
        if not name.startswith("params:")
    }
)
TOLD = sorted(
    {
        (name.removeprefix("params:"), node.name)
        for pipeline in PIPELINES.values()
        for node in pipeline.nodes
        for name in node.inputs
        if name.startswith("params:") and "." not in name  # a part of them
    }
)
NODES = {node.name: node for pipeline in PIPELINES.values() for node in pipeline.nodes}
LAYERS = {
    "raw": "01_raw",
    "intermediate": "02_intermediate",
    "primary": "03_primary",
    "feature": "04_feature",
    "model_input": "05_model_input",
    "models": "06_models",
    "model_output": "07_model_output",
    "reporting": "08_reporting",
}
MADE_ELSEWHERE = {"raw", "run_records", "run_report"}
"""What the hooks read and write, and no node."""

HEAVY = [
    "torch",
    "torchvision",
    "timm",
    "faiss",
    "sklearn",
    "skops",
    "lightgbm",
    "mlflow",
    "onnx",
    "optuna",
    "onnxruntime",
    "lance",
    "cv2",
    "pandera",
    "matplotlib",
    "scipy",
]


def load_configuration(environment: str, monkeypatch: pytest.MonkeyPatch) -> OmegaConfigLoader:
    monkeypatch.setenv("FB_RAW", "memory://bucket/raw")
    monkeypatch.setenv("FB_LAKE", "memory://bucket/lake")
    return OmegaConfigLoader(
        str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS | {"default_run_env": "base"}
    )


@pytest.fixture(scope="module")
def entries() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        catalog = load_configuration("base", monkeypatch)["catalog"]
    return {name: item for name, item in catalog.items() if not name.startswith("_")}


def model_of(parameter: str, node_name: str) -> type[BaseModel]:
    """The model that a node's function takes a parameter by, as Python itself resolves it."""
    node = NODES[node_name]
    place = node.inputs.index(f"params:{parameter}")
    names = list(node.func.__code__.co_varnames[: node.func.__code__.co_argcount])
    return typing.get_type_hints(node.func)[names[place]]


def test_registry_has_stages_search_and_default():
    assert set(PIPELINES) == {
        *("cleaning", "baselines", "vision", "embeddings", "vision_evaluation", "indexing"),
        *("text", "listings", "pricing", "ranking", "release"),
        *("sample", "embeddings_json", "tune", "search", "__default__"),
    }


def test_pipeline_is_created_when_first_read():
    created = []
    pipeline = LazyPipeline(lambda: created.append(1) or Pipeline([]))

    assert not created
    assert pipeline.nodes == []
    assert pipeline.inputs() == set()
    assert created == [1]


def test_default_pipeline_is_sum_of_stages():
    default = set(PIPELINES["__default__"].nodes)

    outside = {name for name, pipeline in PIPELINES.items() if not set(pipeline.nodes) <= default}

    assert outside == {"sample", "embeddings_json", "tune"}


def test_search_is_sum_of_four_stages():
    stages = (PIPELINES[name] for name in ("text", "listings", "pricing", "ranking"))

    assert set(PIPELINES["search"].nodes) == {node for stage in stages for node in stage.nodes}


def test_vision_trains_encodes_and_evaluates():
    namespaces = {node.namespace for node in PIPELINES["vision"].nodes}

    assert namespaces == {"vision", "embeddings", "vision_evaluation"}
    assert "vision_metrics" in PIPELINES["vision"].outputs() | PIPELINES["vision"].all_outputs()


def test_namespace_of_every_node_is_its_stage():
    composed = {"baselines", "vision", "search", "__default__"}
    stages = {"embeddings_json": {"embeddings"}, "tune": {"ranking", "vision", "tune"}}

    for name in PIPELINES.keys() - composed:
        assert {node.namespace for node in PIPELINES[name].nodes} == stages.get(name, {name})


def test_short_node_names_are_unique():
    nodes = {node for pipeline in PIPELINES.values() for node in pipeline.nodes}

    short_names = Counter(node.name.rpartition(".")[2] for node in nodes)

    assert {name for name, count in short_names.items() if count > 1} == set()


def test_nodes_are_named_for_their_functions():
    nodes = {node for pipeline in PIPELINES.values() for node in pipeline.nodes}

    for node in nodes:
        assert node.name == f"{node.namespace}.{node.func.__name__}"


def test_datasets_have_no_namespace():
    assert [name for name in DATASETS if "." in name] == []


@pytest.mark.parametrize("tag", ["train", "encode", "report"])
def test_tag_reads_nothing_left_in_memory(entries, tag):
    tagged = PIPELINES["__default__"].only_nodes_with_tags(tag)

    read = [name for name in sorted(tagged.inputs()) if not name.startswith("params:")]

    assert [name for name in read if entries[name]["type"] == "MemoryDataset"] == []


def test_report_tag_draws_figures_of_all_stages():
    drawn = PIPELINES["__default__"].only_nodes_with_tags("report").all_outputs()

    assert {"photo_grid", "learning_curves", "model_card", "retrieval_grid"} < drawn


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_has_its_own_entry(entries, name):
    assert name in entries


def test_every_entry_is_used(entries):
    assert set(entries) - set(DATASETS) == MADE_ELSEWHERE


def test_only_named_datasets_stay_in_memory(entries):
    in_memory = {name for name, entry in entries.items() if entry["type"] == "MemoryDataset"}

    assert in_memory == {
        *("quarantined_photos", "embedding_keys", "text_keys", "ranking_corpus", "gate_verdict"),
        *("ranker_objective", "head_objective", "embedding_objective", "tuning_studies"),
        "layer_embeddings",
    }


def test_every_versioned_entry_has_a_layer(entries):
    versioned = {name: entry for name, entry in entries.items() if entry.get("versioned")}

    assert {
        name
        for name, entry in versioned.items()
        if "layer" not in entry.get("metadata", {}).get("kedro-viz", {})
    } == set()


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "release"])
def test_dataset_lies_in_the_folder_of_its_layer(entries, name):
    layer = entries[name].get("metadata", {}).get("kedro-viz", {}).get("layer")
    if layer == "raw":
        assert entries[name]["filepath"].startswith("memory://bucket/raw")
    elif layer:
        assert entries[name]["filepath"].startswith(f"memory://bucket/lake/{LAYERS[layer]}/")


def test_datasets_without_layer_are_no_files(entries):
    without = {name for name in DATASETS if "kedro-viz" not in entries[name].get("metadata", {})}

    assert {
        name
        for name in without
        if entries[name]["type"] != "MemoryDataset" and "_existing_" not in name
    } == {"current_release", "erasure_list", "lake", "vision_work", "tuning_work"}


def test_existing_keys_are_read_from_their_table(entries):
    existing = [name for name in DATASETS if "_existing_" in name]

    assert existing
    for name in existing:
        table = entries[name.partition("_existing_")[0]]
        assert entries[name]["filepath"] == table["filepath"]


def test_previous_version_is_read_from_its_table(entries):
    previous = [name for name in DATASETS if "previous_of" in entries[name].get("metadata", {})]

    assert previous
    for name in previous:
        table = entries[entries[name]["metadata"]["previous_of"]]
        assert entries[name]["filepath"] == table["filepath"]


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_pipeline_reads_nothing_left_in_memory(entries, name):
    read = {item for item in PIPELINES[name].inputs() if not item.startswith("params:")}

    assert [item for item in sorted(read) if entries[item]["type"] == "MemoryDataset"] == []


def test_no_two_outputs_share_a_path(entries):
    created = {name for pipeline in PIPELINES.values() for name in pipeline.all_outputs()}
    places = [entries[name]["filepath"] for name in created if "filepath" in entries[name]]

    assert len(places) == len(set(places))


def test_outputs_in_the_lake_are_versioned(entries):
    created = {name for pipeline in PIPELINES.values() for name in pipeline.all_outputs()}

    assert {
        name
        for name in created
        if entries[name]["type"] != "MemoryDataset" and not entries[name].get("versioned")
    } == {"sample_lake", "release_photo_files"}, "which is named by what it holds"


def test_every_parquet_table_has_a_schema(entries):
    unchecked = [
        name
        for name, entry in entries.items()
        if entry["type"] == "pandas.ParquetDataset" and "validator" not in entry
    ]

    assert unchecked == []


@pytest.mark.parametrize(("parameter", "node"), TOLD)
def test_base_parameters_fit_their_models(base_parameters, parameter, node):
    model = model_of(parameter, node)

    assert issubclass(model, BaseModel)
    model.model_validate(base_parameters[parameter])


@pytest.mark.parametrize(("parameter", "node"), TOLD)
def test_misspelled_parameter_is_refused(base_parameters, parameter, node):
    with pytest.raises(ValidationError, match="mistyped"):
        model_of(parameter, node).model_validate(base_parameters[parameter] | {"mistyped": 1})


def test_every_parameter_is_read(base_parameters):
    assert set(base_parameters) == {parameter for parameter, _ in TOLD}


def test_license_of_weights_runs_only_its_report_again(base_parameters):
    values = base_parameters["vision"] | {"weights_license": "mit"}
    readers = [node for node in NODES.values() if "params:vision.weights_license" in node.inputs]

    assert "weights_license" not in VisionParameters.model_validate(values).model_dump()
    assert [node.name for node in readers] == ["vision.select_encoder"]


@pytest.mark.parametrize("environment", ["base", "clip", "s3", "test"])
def test_environment_gives_valid_catalog_and_parameters(monkeypatch, environment):
    configuration = load_configuration(environment, monkeypatch)

    catalog = DataCatalog.from_config(
        {name: item for name, item in configuration["catalog"].items() if name[0] != "_"},
        save_version="2026-01-01T00.00.00.000Z",
    )

    assert set(DATASETS) <= set(catalog.keys())
    parameters = configuration["parameters"]  # Kedro reads the files again on each access
    for parameter, node in TOLD:
        model_of(parameter, node).model_validate(parameters[parameter])


@pytest.mark.parametrize(("environment", "engine"), [("base", "local"), ("ray", "ray")])
def test_environment_selects_the_engine(monkeypatch, environment, engine):
    compute = load_configuration(environment, monkeypatch)["compute"]

    assert ComputeParameters.model_validate(compute).engine == engine


@pytest.mark.parametrize("environment", ["s3", "test"])
def test_environment_without_roots_is_refused(monkeypatch, environment):
    monkeypatch.setenv("FB_RAW", "memory://bucket/raw")
    monkeypatch.delenv("FB_LAKE", raising=False)

    with pytest.raises(InterpolationResolutionError, match="FB_LAKE"):
        OmegaConfigLoader(str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS)


def test_roots_of_a_run_override_the_environment(monkeypatch):
    monkeypatch.setenv("FB_RAW", "elsewhere")
    configuration = OmegaConfigLoader(
        str(ROOT / "conf"), runtime_params={"raw": "s3://mine"}, **CONFIG_LOADER_ARGS
    )

    assert configuration["catalog"]["raw_products"]["filepath"] == "s3://mine/Assets/Products.csv"


@pytest.mark.parametrize(
    ("part", "values", "told_of"),
    [
        ("embedding", {"epochs": 0}, "metric.*epochs"),
        ("fine_tuning", {"augmentation": {"crop_size": 320}}, r"input_side.*\b256\b"),
    ],
)
def test_vision_parameters_must_be_consistent(base_parameters, part, values, told_of):
    options = copy.deepcopy(base_parameters["vision"])
    for name, value in values.items():
        options[part][name] = options[part][name] | value if isinstance(value, dict) else value

    with pytest.raises(ValidationError, match=told_of):
        VisionParameters.model_validate(options)


def test_split_shares_must_leave_a_test_split(base_parameters):
    options = base_parameters["splits"] | {"train": 0.9, "validation": 0.1}

    with pytest.raises(ValidationError, match=r"train.*validation"):
        cleaning.SplitParameters.model_validate(options)


def test_required_field_must_have_a_column(base_parameters):
    options = base_parameters["cleaning"]["images"] | {"required_columns": ["image_id", "colour"]}

    with pytest.raises(ValidationError, match="colour"):
        cleaning.TableParameters.model_validate(options)


@pytest.mark.parametrize(("table", "name"), [("products", "location"), ("images", "product_id")])
def test_columns_that_cleaning_needs_must_be_named(base_parameters, table, name):
    options = base_parameters["cleaning"]
    columns = {ours: theirs for ours, theirs in options[table]["columns"].items() if ours != name}
    required = [ours for ours in options[table]["required_columns"] if ours != name]
    options = options | {table: {"columns": columns, "required_columns": required}}

    with pytest.raises(ValidationError, match=f"columns.*{name}"):
        cleaning.CleaningParameters.model_validate(options)


@pytest.mark.parametrize(
    ("command", "heavy"), [("list", [*HEAVY, "numpy", "pandas"]), ("describe", HEAVY)]
)
def test_registry_imports_nothing_heavy(command, heavy):
    script = (
        "import json, sys\n"
        "from kedro.framework.cli.cli import main\n"
        "try:\n"
        f"    sys.argv = ['kedro', 'registry', {command!r}]\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "cleaning" in ended.stdout
    assert json.loads(ended.stdout.splitlines()[-1]) == []
