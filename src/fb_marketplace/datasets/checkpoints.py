"""The weights of each epoch of a training: a folder of files a version."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from kedro.io.core import AbstractVersionedDataset, Version

from fb_marketplace.storage import open_root
from fb_marketplace.stored_file import StoredFile


class CheckpointsDataset(
    AbstractVersionedDataset[dict[str, Callable[[], bytes]], dict[str, StoredFile]]
):
    """Saves files by name, each read only when its turn comes; loads where they are.

    Example:
        .. code-block:: yaml

            checkpoints:
              type: fb_marketplace.datasets.checkpoints.CheckpointsDataset
              filepath: data/06_models/checkpoints
              versioned: true
    """

    def __init__(
        self,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the folder, by its path or URL."""
        self._filesystem, path = open_root(filepath)
        # A path without a protocol may be relative, and is made absolute.
        self._root = filepath.removesuffix(path) if "://" in filepath else ""
        self.metadata = metadata
        super().__init__(
            PurePosixPath(path), version, self._filesystem.exists, self._filesystem.glob
        )

    def load(self) -> dict[str, StoredFile]:
        """Give the files of the version that the run reads, by name, sorted."""
        path = str(self._get_load_path())
        if not self._filesystem.exists(path):
            raise FileNotFoundError(
                f"there is no folder {path}; run the pipeline that makes it first"
            )
        found = sorted(self._filesystem.ls(path, detail=False))
        return {PurePosixPath(name).name: StoredFile(f"{self._root}{name}") for name in found}

    def save(self, data: dict[str, Callable[[], bytes]]) -> None:
        """Write the files one after the other."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(path, exist_ok=True)
        for name, read in data.items():
            self._filesystem.pipe_file(f"{path}/{name}", read())

    def _exists(self) -> bool:
        return bool(self._filesystem.exists(str(self._get_load_path())))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
