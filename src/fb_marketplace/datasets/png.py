"""A figure as PNG."""

import base64

from kedro_datasets._typing import ImagePreview

from fb_marketplace.datasets.file import FileDataset


class PNGDataset(FileDataset):
    """Saves the bytes of a PNG; Kedro-Viz shows it.

    Example:
        .. code-block:: yaml

            photo_grid:
              type: fb_marketplace.datasets.png.PNGDataset
              filepath: data/08_reporting/photo_grid.png
              versioned: true
    """

    def preview(self) -> ImagePreview:
        """Return the figure for Kedro-Viz, in base64."""
        return ImagePreview(base64.b64encode(self.load().read()).decode())
