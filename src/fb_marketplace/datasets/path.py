"""A location that nodes or hooks access directly instead of through the catalog."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj

from fb_marketplace_serving.storage.lake import Lake


class PathDataset(AbstractDataset[None, Any]):
    """Loads the result of a function or class that is called with a URL. Cannot be saved.

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
        """Describe the location.

        Args:
            filepath: its path or URL.
            opened_by: dotted name of a function or class.
            metadata: for plugins, such as Kedro-Viz.
        """
        self._filepath = filepath
        self._opened_by = opened_by
        self.metadata = metadata

    def load(self) -> Any:
        """Open the location."""
        return load_obj(self._opened_by)(self._filepath)

    def save(self, data: None) -> None:
        """Reject the data: the location is read-only.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(
            f"{self._filepath} cannot be saved through this entry (got {type(data)})."
        )

    def _exists(self) -> bool:
        location = self.load()
        return bool(location.exists()) if hasattr(location, "exists") else True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "opened_by": self._opened_by}


class InLakeDataset(PathDataset):
    """Loads the result of a function or class that is called with a :class:`Lake`. Cannot be saved.

    Example:
        .. code-block:: yaml

            run_records:
              type: fb_marketplace.datasets.path.InLakeDataset
              filepath: data
              opened_by: fb_marketplace.storage.run_records.RunRecords
    """

    def load(self) -> Any:
        """Call the function or class with the lake."""
        return load_obj(self._opened_by)(Lake(self._filepath))
