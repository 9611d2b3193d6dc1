"""The prune command; test_retention.py tests the removed files."""

import pytest
from click.testing import CliRunner
from support.builders.small_lake import SmallLake, version

from fb_marketplace.cli import cli


@pytest.fixture
def lake(tmp_path):
    lake = SmallLake(tmp_path)
    for day in (1, 2):
        lake.record(version(day), ["products"])
        lake.file("03_primary/products.parquet", version(day))
    return lake


def prune(lake, *arguments):
    return CliRunner().invoke(cli, ["prune", "--lake", str(lake.root), *arguments])


def test_prune_by_default_only_lists(lake):
    before = lake.files()

    ended = prune(lake, "--keep", "1")

    assert ended.exit_code == 0
    assert f"03_primary/products.parquet @ {version(1)}" in ended.output
    assert "2 items" in ended.output
    assert "--apply" in ended.output
    assert lake.files() == before


def test_prune_with_apply_removes(lake):
    ended = prune(lake, "--keep", "1", "--apply")

    assert ended.exit_code == 0
    assert not [path for path in lake.files() if version(1) in path]
    assert prune(lake, "--keep", "1").output.splitlines()[-1].startswith("0 items")


def test_prune_error_is_one_line(lake):
    ended = prune(lake, "--keep", "0")

    assert ended.exit_code == 1
    assert "--keep 0" in ended.output
    assert len(ended.output.splitlines()) == 1


def test_lake_of_older_layout_is_refused_in_one_line(lake):
    lake.put("runs/2026-01-03T12.00.00.000Z.json", b'{"version": "2026-01-03T12.00.00.000Z"}')

    ended = prune(lake, "--keep", "1")

    assert ended.exit_code == 1
    assert "fb-marketplace 0.1" in ended.output
    assert len(ended.output.splitlines()) == 1
