"""Requirements of the project's pipelines."""

from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from fb_marketplace.diagnostics.requirements import requirements_of
from fb_marketplace.pipeline_registry import register_pipelines
from fb_marketplace.settings import CONFIG_LOADER_ARGS

PIPELINES = register_pipelines()


@pytest.fixture(scope="module")
def needed():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("FB_RAW", "/bucket/raw")
        monkeypatch.setenv("FB_LAKE", "/bucket/lake")
        configuration = OmegaConfigLoader(
            str(Path(__file__).parents[3] / "conf"), env="test", **CONFIG_LOADER_ARGS
        )
        entries = {name: item for name, item in configuration["catalog"].items() if name[0] != "_"}
        catalog = DataCatalog.from_config(entries, save_version="v1")
        catalog["params:cleaning"] = configuration["parameters"]["cleaning"]

    def needed(name):
        pipeline = PIPELINES[name]
        return requirements_of(pipeline.inputs(), pipeline.all_outputs(), catalog)

    return needed


def test_cleaning_needs_tables_photos_and_lake(needed):
    needs = needed("cleaning")

    assert (needs.raw, needs.photos, needs.lake) == (
        "/bucket/raw",
        "/bucket/raw/images",
        "/bucket/lake",
    )
    assert {table.url.rpartition("/")[2]: table.columns for table in needs.tables} == {
        "Products.csv": (
            *("id", "product_name", "category", "product_description", "price", "location"),
        ),
        "Images.csv": ("id", "product_id"),
    }
    assert {table.format for table in needs.tables} == {"csv"}
    assert {table.max_rejected_share for table in needs.tables} == {0.2}
    assert {table.category_column for table in needs.tables} == {"category", ""}
    assert not needs.trains


def test_sample_needs_no_root(needed):
    needs = needed("sample")

    assert (needs.raw, needs.tables, needs.lake) == (None, (), None)


@pytest.mark.parametrize("name", ["embeddings", "indexing", "release", "ranking"])
def test_later_stages_need_no_raw_root(needed, name):
    """Feedback is read of it too, but need not be there."""
    needs = needed(name)

    assert (needs.raw, needs.tables, needs.photos) == (None, (), None)
    assert needs.lake == "/bucket/lake"


def test_only_training_needs_training_memory(needed):
    assert needed("vision").trains
    assert needed("__default__").trains
    assert not needed("indexing").trains
