"""A place that a run reads file by file, or writes by other means than saving."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj


class PathDataset(AbstractDataset[None, Any]):
    """Loads what a function or class makes of a URL; nothing is saved under this name.

    Example:
        .. code-block:: yaml

            raw_image_files:
              type: fb_marketplace.datasets.path.PathDataset
              filepath: data/01_raw/images
              opened_by: fb_marketplace.storage.photo_source.PhotoSource
    """

    def __init__(
        self, filepath: str, opened_by: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """Name the place.

        Args:
            filepath: its path or URL.
            opened_by: dotted name of what is called with that.
            metadata: for plugins, such as Kedro-Viz.
        """
        self._filepath = filepath
        self._opened_by = opened_by
        self.metadata = metadata

    def load(self) -> Any:
        """Open the place."""
        return load_obj(self._opened_by)(self._filepath)

    def save(self, data: None) -> None:
        """Refuse.

        Raises:
            DatasetError: always; ``data`` is written by other means.
        """
        raise DatasetError(f"{self._filepath} is not saved under this name; found {type(data)}")

    def _exists(self) -> bool:
        place = self.load()
        return bool(place.exists()) if hasattr(place, "exists") else True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "opened_by": self._opened_by}
