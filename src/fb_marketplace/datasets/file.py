"""A file of the lake that loads as a reference, without being read."""

from pathlib import PurePosixPath
from typing import Any, TypeVar

from kedro.io.core import AbstractVersionedDataset, Version

from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.filesystem import open_root

In = TypeVar("In")
Out = TypeVar("Out")


class LakeDataset(AbstractVersionedDataset[In, Out]):
    """Base class of datasets in the lake, with the timeouts and retries of :mod:`storage`."""

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Set the path or URL."""
        self._filesystem, path = open_root(filepath)
        # A path without a protocol may be relative; fsspec makes it absolute.
        self._root = filepath.removesuffix(path) if "://" in filepath else ""
        self.metadata = metadata
        super().__init__(
            PurePosixPath(path), version, self._filesystem.exists, self._filesystem.glob
        )

    def _exists(self) -> bool:
        return bool(self._filesystem.exists(str(self._get_load_path())))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}


class FileReferenceDataset(LakeDataset[In, FileRef]):
    """Loads a reference to a file. Subclasses define how the file is saved."""

    def load(self) -> FileRef:
        """Return a reference to the file of the version."""
        path = str(self._get_load_path())
        if not self._filesystem.exists(path):
            raise FileNotFoundError(
                f"File {path} does not exist. Run the pipeline that creates it."
            )
        return FileRef(f"{self._root}{path}")


class FileDataset(FileReferenceDataset[bytes]):
    """Saves bytes. Loads a reference to the file.

    Example:
        .. code-block:: yaml

            encoder:
              type: fb_marketplace.datasets.file.FileDataset
              filepath: data/06_models/encoder.onnx
              versioned: true
    """

    def save(self, data: bytes) -> None:
        """Write the file."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        self._filesystem.pipe_file(path, data)
