"""The generated sample marketplace, as a bucket."""

import shutil
from pathlib import Path
from typing import Any, Final

from kedro.io import AbstractDataset, DatasetError

from fb_marketplace.errors import UserError
from fb_marketplace.sample.bucket import SampleBucket
from fb_marketplace_serving.storage.urls import is_local, local_path

_PART: Final = ".part"


class SampleBucketDataset(AbstractDataset[SampleBucket, None]):
    """Fills an empty local folder with the sample marketplace.

    The files are written to a subfolder, and moved to the root when all are complete. An interrupted run
    therefore leaves nothing that looks like a bucket. The subfolder is inside the root, since the root may
    be a mounted volume.

    Example:
        .. code-block:: yaml

            sample_lake:
              type: fb_marketplace.datasets.sample_bucket.SampleBucketDataset
              filepath: data/01_raw
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Set the path or URL of the raw root."""
        self._filepath = filepath
        self.metadata = metadata

    def load(self) -> None:
        """Raise an error: the sample is read like any bucket."""
        raise DatasetError("The sample is read like any bucket, by the pipeline `cleaning`.")

    def save(self, data: SampleBucket) -> None:
        """Generate and write all files."""
        if not is_local(self._filepath):
            raise UserError(
                f"The sample needs a local folder, but the raw root is {self._filepath}. "
                "Set FB_RAW to an empty folder, or leave it unset."
            )
        root = local_path(self._filepath)
        names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        if set(names) - {".gitkeep", _PART}:
            raise UserError(
                f"The sample needs an empty folder, but {root} has {', '.join(names[:5])}. "
                "Set FB_RAW to an empty folder, or run the other pipelines on these files."
            )
        part = root / _PART
        shutil.rmtree(part, ignore_errors=True)
        for key, content in data.files():
            path = part / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in sorted(part.iterdir()):
            path.rename(root / path.name)
        part.rmdir()

    def _exists(self) -> bool:
        return Path(self._filepath, "ground_truth.json").exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
