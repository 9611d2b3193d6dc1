"""Experiment tracking: logs the parameters, metrics and files of a run to MLflow."""

import contextlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fb_marketplace.errors import UserError
from fb_marketplace.observability.log_filters import redact
from fb_marketplace_serving.storage.urls import is_local, local_path

URI_VARIABLE: Final = "FB_MLFLOW_URI"
EXPERIMENT: Final = "fb-marketplace"
"""Default experiment. ``MLFLOW_EXPERIMENT_NAME`` is MLflow's own variable for it."""

DEFAULTS: Final = {
    # A tracking server that does not answer delays the end of a run by less than a minute.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # By default MLflow sends usage data, and prints the URL of a run with its credentials.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
}
"""Variables of MLflow that are set unless the user has set them."""

MAX_PARAMETERS: Final = 100
MAX_METRICS: Final = 1000
"""Limits of a request to MLflow."""

_NOT_IN_A_NAME: Final = re.compile(r"[^\w./ -]+")


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow stores it.

    Attributes:
        name: version of the run.
        failed: whether an error ended the run.
        started: seconds since the epoch.
        tags: code revision, library versions and other facts, by name.
        parameters: nested parameters.
        metrics: value by name.
        history: metrics by step; a step may occur several times.
        files: content of each artifact by its path.
    """

    name: str
    failed: bool
    started: float
    tags: Mapping[str, str]
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[tuple[int, Mapping[str, float]]] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def check_installed() -> None:
    """Check that MLflow is installed, without importing it.

    Raises:
        UserError: it is not.
    """
    if find_spec("mlflow") is None:
        raise UserError(
            f"{URI_VARIABLE} is set, but MLflow is not installed. Run `pip install mlflow-skinny alembic "
            f"sqlalchemy` (the extra `mlflow`), or unset {URI_VARIABLE}."
        )


def log_run(uri: str, run: TrackedRun) -> str:
    """Log a run that has ended.

    Args:
        uri: URL of a tracking server or database, or a folder. A folder gets an SQLite database.
        run: the run.

    Returns:
        MLflow's id of the run.
    """
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    root = local_path(uri).resolve() if is_local(uri) and uri != "databricks" else None
    if root:
        root.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}" if root else uri)
    started = round(run.started * 1000)
    created = client.create_run(
        _experiment(client, root), start_time=started, tags=dict(run.tags), run_name=run.name
    )
    run_id: str = created.info.run_id
    parameters = [Param(*item) for item in flatten_parameters(run.parameters).items()]
    for batch in _batches(parameters, MAX_PARAMETERS):
        client.log_batch(run_id, params=batch)
    metrics = [
        Metric(name, value, started, step)
        for step, values in ((0, run.metrics), *run.history)
        for name, value in values.items()
    ]
    for batch in _batches(metrics, MAX_METRICS):
        client.log_batch(run_id, metrics=batch)
    with tempfile.TemporaryDirectory() as folder:
        for path, content in run.files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, "FAILED" if run.failed else "FINISHED")
    return run_id


def flatten_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested parameters into ``section.name``; other values than text become JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = _valid_name(f"{prefix}{key}")
        if isinstance(value, Mapping) and value:
            flat |= flatten_parameters(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = redact(text)
    return flat


def estimates(content: Any, prefix: str) -> dict[str, float]:
    """Return the estimates in a metric dataset.

    Args:
        content: nested dictionaries, in which an estimate has the keys ``value``, ``low`` and ``high``.
        prefix: name of the dataset.

    Returns:
        Each value by its path, such as ``vision_metrics/test/photos_top1``, and its bounds as ``…_low``
        and ``…_high``. Values that are not finite are left out.
    """
    if not isinstance(content, Mapping):
        return {}
    if "value" in content:
        bounds = {prefix: content["value"]}
        bounds |= {f"{prefix}_{bound}": content.get(bound) for bound in ("low", "high")}
        return {name: float(number) for name, number in bounds.items() if _is_finite(number)}
    metrics: dict[str, float] = {}
    for key, value in content.items():
        metrics |= estimates(value, f"{prefix}/{_valid_name(str(key))}")
    return metrics


def epoch_metrics(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    """Return the metrics of each epoch of a training history, by step.

    Rows without an epoch, such as mixtures of weights, are left out.
    """
    return [
        (
            int(row["epoch"]),
            {
                f"training/{row['stage']}/{name}": float(value)
                for name, value in row.items()
                if name not in ("stage", "epoch") and _is_finite(value)
            },
        )
        for row in history
        if "epoch" in row
    ]


def _experiment(client: Any, root: Path | None) -> str:
    """Return the id of the experiment, which is created if it does not exist."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return str(experiment.experiment_id)
    # By default the files of a database's runs are written into the working directory.
    location = (root / "artifacts").as_uri() if root else None
    return str(client.create_experiment(name, artifact_location=location))


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _valid_name(name: str) -> str:
    """Replace characters that MLflow does not accept in a name."""
    return _NOT_IN_A_NAME.sub("_", name)


def _is_finite(value: Any) -> bool:
    with contextlib.suppress(TypeError):
        return math.isfinite(value)
    return False
