"""Which uploads that never ended are a lake's."""

from datetime import UTC, datetime, timedelta

import pytest

from fb_marketplace.lifecycle import multipart_uploads
from fb_marketplace.lifecycle.multipart_uploads import unfinished_uploads as unfinished

DAY = timedelta(days=1)
LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


class Bucket:
    """Responses of a store that lists one upload per page."""

    def __init__(self, begun):
        self.begun = begun

    def call_s3(self, method, **params):
        if method == "list_parts":
            return {"Parts": [{"Size": 5}, {"Size": 2}]}
        keys = sorted(key for key in self.begun if key.startswith(params["Prefix"]))
        later = [key for key in keys if key > params.get("KeyMarker", "")]
        return {
            "Uploads": [
                {"Key": key, "UploadId": f"of {key}", "Initiated": self.begun[key]}
                for key in later[:1]
            ],
            "IsTruncated": len(later) > 1,
            "NextKeyMarker": later[0] if later else "",
            "NextUploadIdMarker": "",
        }


@pytest.fixture
def begin(monkeypatch):
    """Has uploads begun in a bucket ``b``, by their keys."""

    def begin(*keys, pos=LONG_AGO):
        bucket = Bucket(dict.fromkeys(keys, pos))
        monkeypatch.setattr(
            multipart_uploads, "open_root", lambda url: (bucket, url.removeprefix("s3://"))
        )

    return begin


@pytest.mark.parametrize("root", ["", "lake/"])
def test_uploads_of_runs_are_listed(begin, root):
    paths = ["02_intermediate/images.lance/data/1", "07_model_output/v", "releases/a", "work/a/b"]
    begin(*(root + path for path in paths))

    result = unfinished(f"s3://b/{root}".rstrip("/"), DAY)

    assert [item.key for item in result] == [root + path for path in paths]
    assert {item.bytes for item in result} == {7}


@pytest.mark.parametrize("root", ["", "lake/"])
def test_uploads_of_others_are_not_listed(begin, root):
    others = [
        "01_raw/images/a.jpg",
        "backup/06_models/a",
        "06_models",
        "06_models_of_mine/a",
        "a.zip",
    ]
    begin(*(root + path for path in others))

    assert unfinished(f"s3://b/{root}".rstrip("/"), DAY) == []


def test_recent_uploads_are_not_listed(begin):
    begin("06_models/a", pos=datetime.now(UTC) - timedelta(hours=1))

    assert unfinished("s3://b", DAY) == []
