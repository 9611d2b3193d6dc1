"""A folder of files that are named by the digest of their content."""

from typing import Any

from kedro.io import AbstractDataset

from fb_marketplace.storage.file_handles import ContentAddressedFile, existing_sizes
from fb_marketplace_serving.storage.lake import Lake


class ContentAddressedDataset(AbstractDataset[ContentAddressedFile, dict[str, int]]):
    """Saves files one at a time. Loads the size of each file in the folder, by name.

    If a node yields files, each is saved immediately, so that they are never all in memory. There are no
    versions: different content is a different file. A file that exists with the same size is not written
    again. Files are never deleted here, since releases share them; `prune` removes unreferenced files.

    Example:
        .. code-block:: yaml

            release_photo_files:
              type: fb_marketplace.datasets.content_addressed.ContentAddressedDataset
              filepath: data/07_model_output/photos
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Set the path or URL of the folder."""
        self._filepath = filepath
        self._sizes: dict[str, int] | None = None
        self.metadata = metadata

    def load(self) -> dict[str, int]:
        """Return the size in bytes of each file, by name."""
        return existing_sizes(self._filepath)

    def save(self, data: ContentAddressedFile) -> None:
        """Write a file atomically, unless it exists."""
        if self._sizes is None:
            self._sizes = self.load()
        if self._sizes.get(data.name) == len(data.data):
            return
        Lake(self._filepath).replace(data.name, data.data)
        self._sizes[data.name] = len(data.data)

    def _exists(self) -> bool:
        return bool(self.load())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
