"""A file that is written piece by piece, since it may be larger than memory."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from fb_marketplace.datasets.stored_file import LoadedWhereItIs


class StreamedFileDataset(LoadedWhereItIs[Callable[[], Iterator[bytes]]]):
    """Saves what a function gives, piece by piece; loads where the file is.

    Example:
        .. code-block:: yaml

            image_embeddings_json:
              type: fb_marketplace.datasets.streamed_file.StreamedFileDataset
              filepath: data/07_model_output/image_embeddings.json
              versioned: true
    """

    def save(self, data: Callable[[], Iterator[bytes]]) -> None:
        """Write the pieces one after the other; the file appears with the last of them, or not at all."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        with self._filesystem.transaction, self._filesystem.open(path, "wb") as file:
            for piece in data():
                file.write(piece)
