"""The embedded marketplace, laid out as a bucket."""

import shutil
from pathlib import Path
from typing import Any, Final

from kedro.io import AbstractDataset, DatasetError

from fb_marketplace.errors import UserError
from fb_marketplace.sample.bucket import SampleBucket
from fb_marketplace.storage.filesystem import is_local

_PART: Final = ".part"


class SampleBucketDataset(AbstractDataset[SampleBucket, None]):
    """Fills a raw root with the embedded marketplace, if that is a local folder and empty.

    It is written below the root, apart, and moved up whole: an interrupted run leaves nothing that
    looks like a bucket. Beside the root it could not be, where that is a volume of a container.

    Example:
        .. code-block:: yaml

            sample_lake:
              type: fb_marketplace.datasets.sample_bucket.SampleBucketDataset
              filepath: data/01_raw
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the raw root, by its path or URL."""
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> None:
        """Refuse: the sample is read as any bucket is."""
        raise DatasetError("the sample is read as any bucket is, by the pipeline `cleaning`")

    def save(self, data: SampleBucket) -> None:
        """Draw and write all files."""
        if not is_local(self._filepath):
            raise UserError(
                f"the sample fills a local folder only; the raw root is {self._filepath}. "
                "Set FB_RAW to an empty folder, or leave it unset"
            )
        root = Path(self._filepath.removeprefix("file://"))
        found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        if set(found) - {".gitkeep", _PART}:
            raise UserError(
                f"the sample fills an empty folder only; {root} holds {', '.join(found[:5])}. "
                "Set FB_RAW to an empty folder, or run the other pipelines on what is there"
            )
        part = root / _PART
        shutil.rmtree(part, ignore_errors=True)
        for key, content in data.files():
            path = part / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for made in sorted(part.iterdir()):
            made.rename(root / made.name)
        part.rmdir()

    def _exists(self) -> bool:
        return Path(self._filepath, "ground_truth.json").exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
