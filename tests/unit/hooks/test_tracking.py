"""Runs of a small pipeline, logged to MLflow.

The store is an SQLite database in a folder; the slow tests also start MLflow's server. It needs an older
pyarrow than this project, and so an environment of its own, which uv installs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from importlib import metadata
from pathlib import Path

import httpx
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from support.waiting import until

from fb_marketplace.errors import UserError
from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.hooks.tracking import TrackingHooks
from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace.runner.incremental_runner import IncrementalRunner
from fb_marketplace.settings import HOOKS

ROOT = Path(__file__).parents[3]
FIGURES = ("learning_curves", "photo_confusion", "reliability_diagram", "retrieval_grid")
HISTORY = [
    {"stage": "head", "epoch": 1, "validation_loss": 2.5},
    {"stage": "head", "epoch": 2, "validation_loss": 2.0},
    {"stage": "interpolation", "share": 0.5, "validation_loss": 1.9},
]


def train(settings: dict[str, float]) -> list[dict[str, object]]:
    if settings["learning_rate"] < 0:
        raise ValueError("negative learning rate")
    return HISTORY


def evaluate(history: list[dict[str, object]], floor: float) -> dict[str, object]:
    return {"test": {"photos_top1": {"value": 0.5 + floor, "low": 0.4, "high": 0.75, "cases": 8}}}


def write_card(metrics: dict[str, object]) -> str:
    return f"# Model card\n\n{metrics['test']}"


def plot(history: list[dict[str, object]]) -> bytes:
    return b"\x89PNG of a figure"


PIPELINE = Pipeline(
    [
        node(train, "params:vision", "training_history", name="train"),
        *(node(plot, "training_history", name, name=f"plot_{name}") for name in FIGURES),
        node(evaluate, ["training_history", "params:floor"], "vision_metrics", name="evaluate"),
        node(write_card, "vision_metrics", "model_card", name="write_card"),
    ]
)


def entries(folder):
    json_names = ("training_history", "vision_metrics", "run_report")
    types = dict.fromkeys(json_names, "json.JSONDataset")
    types |= dict.fromkeys(FIGURES, "fb_marketplace.datasets.png.PNGDataset")
    types["model_card"] = "text.TextDataset"
    catalog = {
        name: {"type": type_, "filepath": str(folder / name), "versioned": True}
        for name, type_ in types.items()
    }
    catalog["run_records"] = {
        "type": "fb_marketplace.datasets.path.InLakeDataset",
        "filepath": str(folder),
        "opened_by": "fb_marketplace.storage.run_records.RunRecords",
    }
    return catalog


@pytest.fixture(scope="module")
def folder_store(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def server_store(tmp_path_factory):
    """The address of a server."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        *(Path(sys.executable).with_name("uv"), "run", "--isolated", "--no-project"),
        *("--python", sys.executable, "--with", f"mlflow=={metadata.version('mlflow-skinny')}"),
        *("--", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
    ]
    with Path(folder, "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers():
        assert process.poll() is None, Path(folder, "log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, seconds=300)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(params=["folder", pytest.param("server", marks=pytest.mark.slow)])
def uri(request, folder_store, monkeypatch):
    is_folder = request.param == "folder"
    uri = str(folder_store) if is_folder else request.getfixturevalue("server_store")
    monkeypatch.setenv("FB_MLFLOW_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", uuid.uuid4().hex)
    return uri


@pytest.fixture
def logged_runs(uri):
    """Return all runs of the test in the store, oldest first, and a client."""
    from mlflow.tracking import MlflowClient

    def logged_runs():
        is_folder = "://" not in uri
        client = MlflowClient(f"sqlite:///{uri}/mlflow.db" if is_folder else uri)
        experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
        if experiment is None:
            return [], client
        runs = client.search_runs([experiment.experiment_id], order_by=["start_time"])
        return list(runs), client

    return logged_runs


@pytest.fixture
def run(tmp_path):
    """Run the pipeline as a session does."""
    versions = iter(range(100, 200))

    def run(learning_rate=0.1, floor=0.0, pipeline=PIPELINE):
        version = f"2026-01-01T00.00.00.{next(versions)}Z"
        catalog = DataCatalog.from_config(entries(tmp_path), save_version=version)
        catalog["params:vision"] = {"learning_rate": learning_rate, "sides": [64, 96]}
        catalog["params:floor"] = floor
        manager = _create_hook_manager()
        for hooks in (ReportingHooks(), VersioningHooks(), TrackingHooks()):
            manager.register(hooks)
        values = {
            "run_id": version,
            "pipeline_names": ["vision"],
            "env": None,
            "load_versions": None,
            "runner": "IncrementalRunner",
        }
        about = {"run_params": values, "pipeline": pipeline, "catalog": catalog}
        manager.hook.before_pipeline_run(**about)
        try:
            IncrementalRunner().run(pipeline, catalog, manager, version)
        except Exception as error:
            manager.hook.on_pipeline_error(error=error, **about)
            raise
        manager.hook.after_pipeline_run(run_result={}, **about)
        return version

    return run


def artifacts(client, run, folder=None):
    return {item.path for item in client.list_artifacts(run.info.run_id, folder)}


def test_run_is_logged_with_parameters_metrics_and_files(run, logged_runs, tmp_path):
    version = run()

    (logged,), client = logged_runs()
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", version)
    assert logged.data.params == {
        "floor": "0.0",
        "vision.learning_rate": "0.1",
        "vision.sides": "[64, 96]",
    }
    assert logged.data.metrics == {
        "vision_metrics/test/photos_top1": 0.5,
        "vision_metrics/test/photos_top1_low": 0.4,
        "vision_metrics/test/photos_top1_high": 0.75,
        "training/head/validation_loss": 2.0,
    }
    history = client.get_metric_history(logged.info.run_id, "training/head/validation_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.5), (2, 2.0)]
    assert logged.data.tags["run_version"] == version
    assert {"code_revision", "library.numpy", "library.kedro"} <= logged.data.tags.keys()
    assert artifacts(client, logged) == {"figures", "model_card.md", "run_report.json"}
    assert artifacts(client, logged, "figures") == {f"figures/{name}.png" for name in FIGURES}
    report = client.download_artifacts(logged.info.run_id, "run_report.json", str(tmp_path))
    assert json.loads(Path(report).read_bytes())["version"] == version


def test_only_datasets_that_run_wrote_are_logged(run, logged_runs):
    run()
    run(floor=0.25)

    (_, second), client = logged_runs()
    assert second.data.metrics["vision_metrics/test/photos_top1"] == 0.75
    assert not [name for name in second.data.metrics if name.startswith("training/")]
    assert artifacts(client, second) == {"model_card.md", "run_report.json"}


def test_run_without_changes_is_not_logged(run, logged_runs):
    run()
    run()

    assert len(logged_runs()[0]) == 1


def test_failed_run_is_logged_as_failed(run, logged_runs):
    with pytest.raises(ValueError, match="negative"):
        run(learning_rate=-1.0)

    (logged,), client = logged_runs()
    assert logged.info.status == "FAILED"
    assert logged.data.tags["error"] == "negative learning rate"
    assert logged.data.params["vision.learning_rate"] == "-1.0"
    assert logged.data.metrics == {}
    assert artifacts(client, logged) == {"run_report.json"}


@pytest.mark.parametrize("answers", [True, False], ids=["refuses", "hangs"])
def test_unreachable_server_gives_warning_without_credentials(run, monkeypatch, caplog, answers):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if not answers:
            server.listen()  # connections are made, and no request is read
        port = server.getsockname()[1]
        monkeypatch.setenv("FB_MLFLOW_URI", f"http://me:planted-secret@127.0.0.1:{port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with caplog.at_level("INFO"):
            run()

    assert "planted-secret" not in caplog.text
    (warning,) = [line.message for line in caplog.records if line.name.endswith("hooks.tracking")]
    assert f"was not logged to http://***@127.0.0.1:{port}" in warning
    assert any(message.endswith("wrote 8 datasets") for message in caplog.messages)


def test_missing_mlflow_stops_run_with_remedy(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FB_MLFLOW_URI", str(tmp_path))
    monkeypatch.setattr("fb_marketplace.observability.experiment_tracking.find_spec", {}.get)

    with pytest.raises(UserError, match=r"FB_MLFLOW_URI .*pip install mlflow-skinny"):
        run()


def test_project_logs_runs():
    assert any(isinstance(hooks, TrackingHooks) for hooks in HOOKS)


def test_mlflow_is_not_imported_without_variable(tmp_path):
    (tmp_path / "Assets").mkdir()
    (tmp_path / "Assets/Products.csv").write_text(
        "id,product_name,category,product_description,price,location\n"
        "1,Oak chair,Home / Chairs,A chair of oak.,£5,Leeds\n"
    )
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([m for m in sys.modules if m.startswith('mlflow')]))\n"
        "from kedro.framework.cli import main\n"
        "sys.argv = ['kedro', 'run', '--nodes=clean_products']\n"
        "main()"
    )
    remaining = {key: value for key, value in os.environ.items() if not key.startswith("FB_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=remaining
        | {"FB_RAW": str(tmp_path), "FB_LAKE": str(tmp_path / "lake"), "KEDRO_ENV": "test"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
