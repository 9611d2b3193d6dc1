"""URLs of folders and buckets."""

import pytest

from fb_marketplace_serving.storage.urls import (
    is_local,
    is_s3,
    join,
    local_path,
    normalize_root,
    split,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data", True),
        ("/data/lake", True),
        ("file:///data/lake", True),
        ("s3://bucket/lake", False),
        ("memory://bucket/lake", False),
    ],
)
def test_is_local_distinguishes_folders_and_buckets(url, expected):
    assert is_local(url) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data/01_raw/", "data/01_raw"),
        ("/data//raw", "/data//raw"),
        ("/", "/"),
        ("file:///data/raw/", "/data/raw"),
        ("file:/data/raw", "/data/raw"),
        ("FILE://localhost/data/my%20raw", "/data/my raw"),
        ("local:///data/raw", "/data/raw"),
        ("/data/50%20off", "/data/50%20off"),
        ("s3://bucket/raw/", "s3://bucket/raw"),
        ("s3://bucket/raw///", "s3://bucket/raw"),
        ("s3://bucket/", "s3://bucket"),
        ("s3a://bucket/raw", "s3://bucket/raw"),
        ("S3://bucket//Raw", "s3://bucket//Raw"),
        ("s3://bucket/a#b?c%2Fd", "s3://bucket/a#b?c%2Fd"),
        ("gs://bucket/raw/", "gs://bucket/raw"),
        ("memory://raw", "memory://raw"),
    ],
)
def test_normalize_root_gives_one_form(url, expected):
    assert normalize_root(url) == expected
    assert normalize_root(expected) == expected


def test_every_form_of_a_root_is_recognized():
    assert is_s3("s3a://bucket")
    assert is_s3("S3://bucket")
    assert not is_s3("gs://bucket")
    assert str(local_path("file:///data/my%20raw/")) == "/data/my raw"


@pytest.mark.parametrize("root", ["s3://bucket/lake", "s3://bucket/lake/"])
def test_join_ignores_a_trailing_slash_of_the_root(root):
    assert join(root, "runs", "a.json") == "s3://bucket/lake/runs/a.json"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/lake/", ("s3://bucket", "lake")),
        ("/file", ("/", "file")),
        ("file", (".", "file")),
    ],
)
def test_split_separates_folder_and_name(url, expected):
    assert split(url) == expected
