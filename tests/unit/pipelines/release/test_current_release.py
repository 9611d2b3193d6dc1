import hashlib
import json

import pandas as pd
import pytest

from fb_marketplace.pipelines.release.current_release import CASE_METRICS, read_current_release
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION
from fb_marketplace_serving.release.manifest import (
    ARTIFACTS,
    Abstention,
    Artifact,
    Canary,
    Manifest,
    ReleaseError,
    artifact_of,
)
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.storage.lake import Lake

TABLE = pd.DataFrame(
    [("photo_top1", "i", "g", 1.0), ("recall_at_1", "i", "g", 0.0)], columns=list(CASE_METRICS)
)


@pytest.fixture
def lake(tmp_path):
    """A lake whose current release has case metrics only."""
    TABLE.to_parquet(tmp_path / "measures.parquet", index=False)
    empty = Artifact(path="elsewhere", bytes=0, sha256=hashlib.sha256(b"").hexdigest())
    measures = artifact_of(Lake(str(tmp_path)), "measures.parquet")
    manifest = Manifest(
        version="v1",
        created="2026-01-01T00:00:00+00:00",
        code_revision="abc",
        data_digest="d",
        artifacts=dict.fromkeys(ARTIFACTS, empty) | {"release_measures": measures},
        labels=("Arts",),
        abstention=Abstention(threshold=1, error=0.05),
        photos_version=canonical.VERSION,
        framing_version=FRAMING_VERSION,
        embedding_dimension=3,
        counts={},
        metrics={},
        canaries=(
            Canary(image_id="i", photo="", probabilities=[1], embedding=[1], neighbors=["i"]),
        ),
    )
    publish(Lake(str(tmp_path)), manifest)
    return tmp_path


def test_metrics_of_current_release_are_read(lake):
    current = read_current_release(Lake(str(lake)))

    assert (current.version, current.reason) == ("v1", "")
    pd.testing.assert_frame_equal(current.case_metrics, TABLE, check_dtype=False)


def test_lake_without_release_has_no_metrics(tmp_path):
    current = read_current_release(Lake(str(tmp_path)))

    assert (current.version, current.case_metrics) == (None, None)
    assert current.reason


def write_old_release(lake):
    """As of a version whose pointers had no checksum of the manifest."""
    (lake / "releases/v1.json").write_text(json.dumps({"schema_version": 1}))
    (lake / "releases/current.json").write_text(json.dumps({"version": "v1"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lake: (lake / "measures.parquet").unlink(), "not found"),
        (lambda lake: TABLE.head(1).to_parquet(lake / "measures.parquet"), "bytes"),
        (lambda lake: (lake / "releases/current.json").write_text("{}"), "current.json"),
        (lambda lake: (lake / "releases/v1.json").unlink(), "v1.json"),
        (lambda lake: (lake / "releases/v1.json").write_text("{}"), "sha256"),
        (write_old_release, "schema_version is 1"),
    ],
)
def test_damaged_release_is_not_compared_with_reason(lake, change, reason):
    change(lake)

    current = read_current_release(Lake(str(lake)))

    assert current.case_metrics is None
    assert reason in current.reason


def test_unreachable_store_is_an_error(lake):
    (lake / "releases/v1.json").unlink()
    (lake / "releases/v1.json").mkdir()

    with pytest.raises(ReleaseError, match="cannot"):
        read_current_release(Lake(str(lake)))
