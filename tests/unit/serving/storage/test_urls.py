"""URLs of folders and buckets."""

import pytest

from fb_marketplace_serving.storage.urls import is_local, join, split


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
