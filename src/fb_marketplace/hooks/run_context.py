"""Helpers that the hooks share: versioned datasets, the entry of run reports, and timestamps."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from kedro.io import DataCatalog

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


def timestamp() -> str:
    """Return the current time, UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
