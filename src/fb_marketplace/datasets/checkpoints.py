"""Model weights of each training epoch: one folder of files per version."""

from collections.abc import Callable
from pathlib import PurePosixPath

from fb_marketplace.datasets.file import LakeDataset
from fb_marketplace.storage.file_handles import FileRef


class CheckpointsDataset(LakeDataset[dict[str, Callable[[], bytes]], dict[str, FileRef]]):
    """Saves files by name, with one in memory at a time. Loads references to them.

    Example:
        .. code-block:: yaml

            checkpoints:
              type: fb_marketplace.datasets.checkpoints.CheckpointsDataset
              filepath: data/06_models/checkpoints
              versioned: true
    """

    def load(self) -> dict[str, FileRef]:
        """Return references to the files of the version, by name, sorted."""
        path = str(self._get_load_path())
        if not self._filesystem.exists(path):
            raise FileNotFoundError(
                f"Folder {path} does not exist. Run the pipeline that creates it."
            )
        files = sorted(self._filesystem.ls(path, detail=False))
        return {PurePosixPath(name).name: FileRef(f"{self._root}{name}") for name in files}

    def save(self, data: dict[str, Callable[[], bytes]]) -> None:
        """Write the files one by one."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(path, exist_ok=True)
        for name, read in data.items():
            self._filesystem.pipe_file(f"{path}/{name}", read())
