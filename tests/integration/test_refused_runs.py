"""Runs that fail with one line, a nonzero exit code and an unchanged lake."""

import csv
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from fb_marketplace.cli import cli
from fb_marketplace.diagnostics import system
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

ROOT = Path(__file__).parents[2]
COLUMNS = ("id", "product_name", "category", "product_description", "price", "location")
ROWS = [
    (str(number), f"Chair {number}", "Home / Chairs", f"A chair, number {number}.", "£5", "Leeds")
    for number in range(4)
]


@pytest.fixture
def raw(tmp_path, draw_photo):
    """The smallest bucket, in a folder."""
    raw = tmp_path / "bucket/raw"
    (raw / "Assets").mkdir(parents=True)
    (raw / "images").mkdir()
    for name, rows in {
        "Products.csv": [COLUMNS, *ROWS],
        "Images.csv": [("id", "product_id"), *((f"photo-{row[0]}", row[0]) for row in ROWS)],
    }.items():
        with (raw / "Assets" / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    for row in ROWS:
        (raw / f"images/photo-{row[0]}.jpg").write_bytes(draw_photo(int(row[0])))
    return raw


@pytest.fixture
def lake(tmp_path):
    """A lake with something in it."""
    lake = tmp_path / "bucket/lake"
    (lake / "08_reporting").mkdir(parents=True)
    (lake / "08_reporting/kept.json").write_text("{}")
    return lake


@pytest.fixture
def refused(monkeypatch, short_waits):
    """Runs cleaning; gives the one line that it ended with."""
    monkeypatch.chdir(ROOT)
    bootstrap_project(ROOT)
    for name in [name for name in os.environ if name.startswith(("AWS_", "FB_"))]:
        monkeypatch.delenv(name)

    def refused(raw, lake, **environment):
        RetryingS3FileSystem.clear_instance_cache()
        for name, value in (environment | {"FB_RAW": str(raw), "FB_LAKE": str(lake)}).items():
            monkeypatch.setenv(name, value)
        ended = CliRunner().invoke(cli, ["run", "--env=test", "--pipeline=cleaning"])
        assert ended.exit_code == 1
        assert isinstance(ended.exception, SystemExit), repr(ended.exception)
        errors = [line for line in ended.output.splitlines() if line.startswith("Error:")]
        assert ended.output.splitlines()[-len(errors) :] == errors
        return errors[0]

    yield refused
    RetryingS3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(seaweed, monkeypatch, tmp_path, raw, lake, request):
    """The same in a bucket: the URL of its raw root and of its lake."""
    name = f"refused-{abs(hash(request.node.name))}"
    url = seaweed.make_bucket(name)
    seaweed.upload(tmp_path / "bucket", url)
    return f"{url}/raw", f"{url}/lake"


def objects(url, monkeypatch, environment):
    RetryingS3FileSystem.clear_instance_cache()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    filesystem, path = open_root(url)
    return {name: item["size"] for name, item in filesystem.find(path, detail=True).items()}


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("who", "values"),
    [
        ("reader", "lack a permission"),
        ({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, "the store refuses the key"),
    ],
)
def test_store_that_denies_access_is_left_unchanged(
    refused, bucket, seaweed, monkeypatch, who, values, raw
):
    before = objects(bucket[1], monkeypatch, seaweed.environment)
    identity = seaweed.reader if who == "reader" else seaweed.environment | who

    # Its tables are elsewhere, so that only the lake is refused.
    line = refused(raw, bucket[1], **identity)

    assert values in line
    assert "not-the-secret" not in line
    assert objects(bucket[1], monkeypatch, seaweed.environment) == before


def test_archive_of_two_tables_is_refused_by_name(refused, raw, lake):
    before = files(lake)
    rows = (raw / "Assets/Products.csv").read_bytes()
    with zipfile.ZipFile(raw / "Assets/Products.csv", "w") as archive:
        archive.writestr("part1.csv", rows)
        archive.writestr("part2.csv", rows)

    line = refused(raw, lake)

    assert "part1.csv, part2.csv" in line
    assert files(lake) == before


def test_other_category_separator_is_named(refused, raw, lake):
    table = raw / "Assets/Products.csv"
    table.write_text(table.read_text().replace("Home / Chairs", "Home > Chairs"))

    line = refused(raw, lake)

    assert "4 of 4 have ' > '" in line
    assert "cleaning.category.separator" in line


def test_missing_bucket_is_reported_and_not_created(refused, raw, seaweed):
    line = refused(raw, "s3://no-such-bucket/lake", **seaweed.environment)

    assert "the bucket does not exist" in line
    assert not open_root("s3://no-such-bucket")[0].exists("no-such-bucket")


def test_renamed_column_is_reported(refused, raw, lake):
    table = raw / "Assets/Products.csv"
    table.write_text(table.read_text().replace("product_name", "product_title"))
    before = files(lake)

    line = refused(raw, lake)

    assert "product_name" in line
    assert "'product_title'" in line
    assert files(lake) == before


def test_truncated_table_is_reported(refused, raw, lake):
    table = raw / "Assets/Products.csv"
    table.write_bytes(table.read_bytes()[:-20])
    before = files(lake)

    line = refused(raw, lake)

    assert "Products.csv" in line
    assert files(lake) == before


def test_disk_that_is_too_small_is_reported(refused, raw, small_disk):
    before = files(small_disk)

    assert "disk" in refused(raw, small_disk)
    assert files(small_disk) == before


def test_disk_that_fills_up_during_run_is_reported(refused, raw, small_disk, monkeypatch):
    """Its own libraries meet the end of the disk, each with words of its own."""
    (small_disk / "kept.json").write_text("{}")
    monkeypatch.setattr(system, "free_disk", lambda path: 10**12)
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_bsize - 40_000))

    line = refused(raw, small_disk)

    assert "disk" in line
    assert not line.startswith("Error: lake: "), "it was to get further than the doctor"
    assert (small_disk / "kept.json").read_text() == "{}"
    assert not list(small_disk.glob("runs/*"))
    assert not list(small_disk.glob("releases/*"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A separate small file system, which can really be full."""
    if os.geteuid():
        pytest.skip("only root may mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_run_that_rejects_too_much_stops(refused, raw, lake):
    table = raw / "Assets/Products.csv"
    table.write_text(table.read_text().replace("£5", "five pounds", 2))

    assert "more than 20% of products" in refused(raw, lake)
    assert not (lake / "runs").exists()
