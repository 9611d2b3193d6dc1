"""Helpers that the hooks share: versioned datasets, parameters, the entry of run reports, timestamps."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

RUN_REPORT: Final = "run_report"
"""Catalog entry of run reports. A hook writes it, since the report covers all nodes."""


def versioned_datasets(names: Iterable[str], catalog: DataCatalog) -> dict[str, Any]:
    """Return the versioned datasets with these names."""
    datasets = {
        name: catalog.get(name)
        for name in sorted(names)
        if not name.startswith("params:") and name != "parameters"
    }
    return {
        name: dataset for name, dataset in datasets.items() if getattr(dataset, "_version", None)
    }


def run_parameters(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, Any]:
    """Return the parameters that a run reads, as JSON values by section."""
    parameters = {
        name.removeprefix("params:"): catalog.load(name)
        for name in sorted(pipeline.inputs())
        if name.startswith("params:")
    }
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in parameters.items()
    }


def timestamp() -> str:
    """Return the current time, UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
