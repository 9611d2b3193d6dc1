"""What a run needs, read off its pipeline and catalog."""

from collections.abc import Iterable
from typing import Any, Final

from fb_marketplace.diagnostics.doctor import RunRequirements
from fb_marketplace.diagnostics.table_probe import RawTable

_FORMATS: Final = {"CSVDataset": "csv", "ParquetDataset": "parquet"}
_NAMED_BY: Final = {"raw_products": "products", "raw_images": "images"}
"""Under which key of ``cleaning`` the columns of a raw table are named."""


def requirements_of(read: Iterable[str], made: Iterable[str], catalog: Any) -> RunRequirements:
    """Say what a run needs.

    Args:
        read: names of what it reads and does not make.
        made: names of what it makes.
        catalog: Kedro's.
    """
    raws = {name: catalog.get(name) for name in sorted(read) if name.startswith("raw_")}
    raws = {name: dataset for name, dataset in raws.items() if _has_to_be_there(dataset)}
    tables, photos = [], None
    for name, dataset in raws.items():
        if getattr(dataset, "_opened_by", "").endswith(".PhotoSource"):
            photos = dataset_url(dataset)
        elif not getattr(dataset, "_opened_by", ""):
            tables.append(_table(name, dataset, catalog))
    made = set(made)
    writes = any(getattr(catalog.get(name), "_version", None) for name in made)
    return RunRequirements(
        raw=_place("raw", catalog) if raws else None,
        tables=tuple(tables),
        photos=photos,
        lake=_place("lake", catalog) if writes else None,
        trains="checkpoints" in made,
    )


def dataset_url(dataset: Any) -> str:
    """Give the path or URL of a dataset, which Kedro's own keep in two parts."""
    protocol = getattr(dataset, "_protocol", "file")
    path = str(dataset._filepath)
    return path if protocol == "file" or "://" in path else f"{protocol}://{path}"


def _place(name: str, catalog: Any) -> str | None:
    # A configuration of a user's own may lack what only a hook reads.
    return dataset_url(catalog.get(name)) if name in catalog else None


def _has_to_be_there(dataset: Any) -> bool:
    # What is versioned is in the lake, whatever its name.
    told = getattr(dataset, "metadata", None) or {}
    return not told.get("may_be_missing") and not getattr(dataset, "_version", None)


def _table(name: str, dataset: Any, catalog: Any) -> RawTable:
    of = _NAMED_BY.get(name)
    columns: tuple[str, ...] = ()
    if of and "params:cleaning" in catalog:
        told = catalog.load("params:cleaning")
        plain = told.model_dump() if hasattr(told, "model_dump") else told
        columns = tuple(plain[of]["columns"].values())
    return RawTable(
        name,
        dataset_url(dataset),
        _FORMATS.get(type(dataset).__name__, ""),  # type: ignore[arg-type]
        getattr(dataset, "_load_args", None) or {},
        columns,
    )
