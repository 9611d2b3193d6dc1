"""A file of the lake that is handed on as it is."""

from pathlib import PurePosixPath
from typing import Any, TypeVar

from kedro.io.core import AbstractVersionedDataset, Version

from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.filesystem import open_root

In = TypeVar("In")
Out = TypeVar("Out")


class LakeDataset(AbstractVersionedDataset[In, Out]):
    """What is at a path of the lake, opened with the timeouts and retries of :mod:`storage`."""

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the place, by its path or URL."""
        self._filesystem, path = open_root(filepath)
        # A path without a protocol may be relative, and is made absolute.
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
    """A file that loads as where it is, however it was saved."""

    def load(self) -> FileRef:
        """Give the file of the version that the run reads."""
        path = str(self._get_load_path())
        if not self._filesystem.exists(path):
            raise FileNotFoundError(
                f"there is no file {path}; run the pipeline that makes it first"
            )
        return FileRef(f"{self._root}{path}")


class FileDataset(FileReferenceDataset[bytes]):
    """Saves bytes; loads where they are, for whoever reads, digests or releases them.

    Example:
        .. code-block:: yaml

            encoder:
              type: fb_marketplace.datasets.file.FileDataset
              filepath: data/06_models/encoder.onnx
              versioned: true
    """

    def save(self, data: bytes) -> None:
        """Write the file, whole or not at all."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        self._filesystem.pipe_file(path, data)
