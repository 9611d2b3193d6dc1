"""Whatever a hundredth of a bucket is spoiled into, in any form, all of it is kept or accounted for."""

import csv
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, DatasetError
from kedro.runner import SequentialRunner
from support.files.corruption import SpoiledBucket, spoil
from support.files.table_forms import Form

from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace.parameters.cleaning import (
    CleaningParameters,
    DuplicateParameters,
    SplitParameters,
)
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.cleaning.pipeline import create_pipeline
from fb_marketplace.sample.bucket import generate_bucket
from fb_marketplace.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
FEW = range(2)
MANY = range(200)
PRICE = 5
PIPELINE = create_pipeline()

DATASETS = {"Products.csv": "raw_products", "Images.csv": "raw_images"}

Clean = Callable[[Path, Path, dict[str, Form]], DataCatalog]


@pytest.fixture(scope="module")
def clean() -> Clean:
    """Cleans a bucket into a lake with the project's own catalog, in this process."""
    values = OmegaConfigLoader(
        str(ROOT / "conf"),
        env="base",
        runtime_params={"raw": "RAW", "lake": "LAKE"},
        **CONFIG_LOADER_ARGS | {"default_run_env": "base"},
    )
    written, parameters = values["catalog"], values["parameters"]
    entries = {
        name: entry
        for name, entry in written.items()
        if name in PIPELINE.datasets() or name == "run_records"
    }
    models = {
        "cleaning": CleaningParameters,
        "duplicates": DuplicateParameters,
        "splits": SplitParameters,
        "vision": VisionParameters,
    }

    def run(raw: Path, lake: Path, forms: dict[str, Form]) -> DataCatalog:
        places = {"RAW": str(raw), "LAKE": str(lake)}
        prices = forms["Products.csv"].price_parameters if forms else {}
        own = {
            "cleaning": {
                "max_rejected_share": 1.0,
                "price": parameters["cleaning"]["price"] | prices,
            },
            "vision": {"min_listings_per_category": 1},
        }
        now = datetime.now(UTC)
        version = f"{now:%Y-%m-%dT%H.%M.%S}.{now.microsecond // 1000:03}Z"
        placed = _placed(entries, places)
        for table, form in forms.items():
            placed[DATASETS[table]]["type"] = form.dataset
            placed[DATASETS[table]]["load_args"] |= form.load_args
        catalog = DataCatalog.from_config(placed, save_version=version)
        for name, model in models.items():
            catalog[f"params:{name}"] = model.model_validate(parameters[name] | own.get(name, {}))
        values = {
            "run_id": version,
            "load_versions": None,
            "pipeline_names": ["cleaning"],
            "env": "base",
            "runner": None,
        }
        hooks = VersioningHooks()
        hooks.before_pipeline_run(values, PIPELINE, catalog)
        SequentialRunner().run(PIPELINE, catalog)
        hooks.after_pipeline_run(values, PIPELINE, catalog)
        return catalog

    return run


def _placed(entry: Any, places: dict[str, str]) -> Any:
    """Set both roots in the configuration."""
    if isinstance(entry, dict):
        return {name: _placed(value, places) for name, value in entry.items()}
    if isinstance(entry, str):
        root, slash, rest = entry.partition("/")
        return f"{places[root]}{slash}{rest}" if root in places else entry
    return entry


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest embedded marketplace."""
    raw = tmp_path_factory.mktemp("bucket") / "raw"
    for key, content in generate_bucket(products=60, seed=7).files():
        (raw / key).parent.mkdir(parents=True, exist_ok=True)
        (raw / key).write_bytes(content)
    return raw


@pytest.fixture(scope="module")
def lake(bucket: Path, clean: Clean, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of that, unspoiled: what a spoiled bucket shares with it is not read again."""
    lake = tmp_path_factory.mktemp("unspoiled") / "lake"
    clean(bucket, lake, {})
    return lake


@pytest.mark.slow
def test_corruption_is_determined_by_its_seed(bucket: Path, tmp_path: Path) -> None:
    first, again, other = (
        spoil(bucket, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert first == again != other
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b") != _contents(tmp_path / "c")
    assert len(list((bucket / "images").iterdir())) > 80


@pytest.mark.slow
@pytest.mark.parametrize("seed", FEW)
def test_corrupt_bucket_is_accounted_for(
    bucket: Path, lake: Path, clean: Clean, tmp_path: Path, seed: int
) -> None:
    check(bucket, lake, clean, tmp_path, seed)


@pytest.mark.stress
@pytest.mark.parametrize("seed", MANY)
def test_many_corrupt_buckets_are_accounted_for(
    bucket: Path, lake: Path, clean: Clean, tmp_path: Path, seed: int
) -> None:
    check(bucket, lake, clean, tmp_path, seed)


def check(bucket: Path, lake: Path, clean: Clean, tmp_path: Path, seed: int) -> None:
    raw, copied = tmp_path / "raw", tmp_path / "lake"
    spoiled = spoil(bucket, raw, seed)
    shutil.copytree(lake, copied)
    if any(form.is_cut for form in spoiled.forms.values()):
        with pytest.raises(DatasetError, match=r"unpacked|complete Parquet"):
            clean(raw, copied, spoiled.forms)
        return

    catalog = clean(raw, copied, spoiled.forms)

    ledger = catalog.load("cleaning_report")["ledger"]
    for stage, values in ledger.items():
        assert values["in"] == values["kept"] + values["quarantined"], stage
    files = [name for _, _, names in os.walk(raw / "images") for name in names]
    assert ledger["files"]["in"] == len(files)
    quarantine = catalog.load("quarantine")
    for stage, table, key in (
        ("products", "products", "product_id"),
        ("images", "image_products", "image_id"),
    ):
        known = set(catalog.load(table)[key])
        known |= set(quarantine.loc[quarantine["stage"] == stage, "key"])
        written = pd.Series(sorted(_rows_of(bucket, stage, spoiled)), dtype="str")
        assert [item for item in written if item not in known] == []
    _check_prices(catalog.load("products"), _rows_of(bucket, "products", spoiled))
    shutil.rmtree(tmp_path)


def _check_prices(products: pd.DataFrame, rows: dict[str, list[str]]) -> None:
    """Check the prices of listings that were left as they were: a spoiled row may repeat some."""
    prices = products.set_index("product_id")["price"]
    expected = {
        name: float(row[PRICE].strip("£").replace(",", ""))
        for name, row in rows.items()
        if name in prices and row[PRICE].startswith("£")
    }
    different = [name for name, price in expected.items() if prices[name] != price]
    assert len(expected) > 30
    assert len(different) <= 3, {name: (expected[name], prices[name]) for name in different}


def _rows_of(bucket: Path, stage: str, spoiled: SpoiledBucket) -> dict[str, list[str]]:
    """The rows that were left as they were, of those that stand on one line, by their ids."""
    name = {"products": "Products.csv", "images": "Images.csv"}[stage]
    written = (bucket / "Assets" / name).read_bytes().split(b"\n")[:-1]
    width = written[0].count(b",") + 1
    lines = [line for line in written[1:] if line in spoiled.complete_lines]
    rows = (row for line in lines for row in _rows(line.decode()))
    return {row[1]: row for row in rows if len(row) == width and row[1]}


def _rows(line: str) -> list[list[str]]:
    try:
        return list(csv.reader([line.replace("\r", " ")], strict=True))
    except csv.Error:
        return []


def _contents(root: Path) -> dict[bytes, bytes]:
    result = {}
    for folder, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = folder + b"/" + name
            with open(path, "rb") as file:  # noqa: PTH123 - names that are no text
                result[path.removeprefix(os.fsencode(root))] = file.read()
    return result
