"""Uploads in parts that were begun and never ended: no listing shows them, and S3 charges for them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.lake_layout import LAYERS

OWN: Final = frozenset({*LAYERS, "runs", "releases", "work"})
"""The folders of a lake that runs write into; what else its bucket may have is somebody else's."""


class Upload(NamedTuple):
    """An upload that may never end: where to, when it was begun, and the bytes it has by now."""

    bucket: str
    key: str
    upload_id: str
    begun: datetime
    bytes: int


def unfinished_uploads(lake: str, begun_for: timedelta) -> list[Upload]:
    """List the uploads to a lake that were begun longer ago than this; none where it is not in S3.

    What goes elsewhere than into the folders of runs is not listed: ``01_raw`` may be beside them, and its
    photos are the user's, who may go on with an upload after days.

    Raises:
        OSError: the store does not list them.
    """
    if not lake.startswith("s3://"):
        return []
    filesystem, root = open_root(lake)
    bucket, _, prefix = root.partition("/")
    before = datetime.now(UTC) - begun_for
    found: list[Upload] = []
    below = f"{prefix}/" if prefix else ""
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": below}
    while True:
        page = filesystem.call_s3("list_multipart_uploads", **asked)
        for each in page.get("Uploads", []):
            folder, slash, _ = each["Key"].removeprefix(below).partition("/")
            if slash and folder in OWN and each["Initiated"] <= before:
                at = {"Bucket": bucket, "Key": each["Key"], "UploadId": each["UploadId"]}
                parts = filesystem.call_s3("list_parts", **at).get("Parts", [])
                size = sum(int(part["Size"]) for part in parts)
                found.append(Upload(bucket, each["Key"], each["UploadId"], each["Initiated"], size))
        if not page.get("IsTruncated"):
            return found
        asked |= {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page["NextUploadIdMarker"],
        }


def abort(lake: str, uploads: Iterable[Upload]) -> None:
    """End uploads, and give back the room of their parts."""
    filesystem, _ = open_root(lake)
    for each in uploads:
        filesystem.call_s3(
            "abort_multipart_upload",
            Bucket=each.bucket,
            Key=each.key,
            UploadId=each.upload_id,
        )
