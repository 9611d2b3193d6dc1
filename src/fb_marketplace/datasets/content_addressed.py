"""A folder of files that are named by what they hold."""

from typing import Any

from kedro.io import AbstractDataset

from fb_marketplace.storage.file_handles import ContentAddressedFile, existing_sizes
from fb_marketplace_serving.storage.lake import Lake


class ContentAddressedDataset(AbstractDataset[ContentAddressedFile, dict[str, int]]):
    """Saves files, one at a time; loads the bytes of each that the folder holds, by name.

    A node that yields files has each saved as it comes, so they are never all in memory. There are no
    versions: another content is another file. A file that is there with its size is not written again,
    and none is deleted, since other releases may share it: `prune` knows which do.

    Example:
        .. code-block:: yaml

            release_photo_files:
              type: fb_marketplace.datasets.content_addressed.ContentAddressedDataset
              filepath: data/07_model_output/photos
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the folder, by its path or URL."""
        self._filepath = filepath
        self._held: dict[str, int] | None = None
        self.metadata = metadata

    def load(self) -> dict[str, int]:
        """List the folder."""
        return existing_sizes(self._filepath)

    def save(self, data: ContentAddressedFile) -> None:
        """Write a file in one step, unless it is there."""
        if self._held is None:
            self._held = self.load()
        if self._held.get(data.name) == len(data.data):
            return
        Lake(self._filepath).replace(data.name, data.data)
        self._held[data.name] = len(data.data)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
