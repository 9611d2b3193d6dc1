"""Requirements of a run, derived from its pipeline and the catalog."""

from collections.abc import Iterable
from typing import Any, Final

from fb_marketplace.diagnostics.doctor import RunRequirements
from fb_marketplace.diagnostics.table_probe import RawTable

_FORMATS: Final = {"CSVDataset": "csv", "ParquetDataset": "parquet"}
_COLUMN_SECTIONS: Final = {"raw_products": "products", "raw_images": "images"}
"""Section of the parameters ``cleaning`` that names the columns of each raw table."""


def requirements_of(inputs: Iterable[str], outputs: Iterable[str], catalog: Any) -> RunRequirements:
    """Derive the requirements of a run.

    Args:
        inputs: names of the datasets that the run reads and does not write.
        outputs: names of the datasets that the run writes.
        catalog: the Kedro catalog.
    """
    raw = {name: catalog.get(name) for name in sorted(inputs) if name.startswith("raw_")}
    raw = {name: dataset for name, dataset in raw.items() if _is_required(dataset)}
    tables, photos = [], None
    for name, dataset in raw.items():
        opener = getattr(dataset, "_opened_by", "")
        if opener.endswith(".PhotoSource"):
            photos = dataset_url(dataset)
        elif not opener:
            tables.append(_table(name, dataset, catalog))
    outputs = set(outputs)
    writes = any(getattr(catalog.get(name), "_version", None) for name in outputs)
    return RunRequirements(
        raw=_root("raw", catalog) if raw else None,
        tables=tuple(tables),
        photos=photos,
        lake=_root("lake", catalog) if writes else None,
        trains="checkpoints" in outputs,
    )


def dataset_url(dataset: Any) -> str:
    """Return the path or URL of a dataset. Kedro's own datasets store the protocol separately."""
    protocol = getattr(dataset, "_protocol", "file")
    path = str(dataset._filepath)
    return path if protocol == "file" or "://" in path else f"{protocol}://{path}"


def _root(name: str, catalog: Any) -> str | None:
    # A user's own configuration may lack an entry that only hooks read.
    return dataset_url(catalog.get(name)) if name in catalog else None


def _is_required(dataset: Any) -> bool:
    # A versioned dataset is in the lake, even if its name starts with `raw_`.
    metadata = getattr(dataset, "metadata", None) or {}
    return not metadata.get("may_be_missing") and not getattr(dataset, "_version", None)


def _table(name: str, dataset: Any, catalog: Any) -> RawTable:
    section = _COLUMN_SECTIONS.get(name)
    columns: tuple[str, ...] = ()
    category_column = category_separator = date_column = ""
    date_formats: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()
    max_rejected_share = 0.5
    if section and "params:cleaning" in catalog:
        parameters = catalog.load("params:cleaning")
        values = parameters.model_dump() if hasattr(parameters, "model_dump") else parameters
        names, required = values[section]["columns"], values[section]["required_columns"]
        columns = tuple(names[field] for field in required)
        category_column = names.get("category_path", "")
        category_separator = values["category"]["separator"]
        max_rejected_share = values.get("max_rejected_share", max_rejected_share)
        date_column = names.get("created_at", "")
        date_formats = values[section].get("date_formats", ())
        missing_values = values["missing_values"]
    return RawTable(
        name,
        dataset_url(dataset),
        _FORMATS.get(type(dataset).__name__, ""),  # type: ignore[arg-type]
        getattr(dataset, "_load_args", None) or {},
        columns,
        category_column,
        category_separator,
        date_column,
        date_formats,
        missing_values,
        max_rejected_share,
        may_be_empty=name == "raw_images",
    )
