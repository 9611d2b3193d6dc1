"""A file that is written piece by piece, since it may be larger than memory."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from fb_marketplace.datasets.file import FileReferenceDataset


class StreamingFileDataset(FileReferenceDataset[Callable[[], Iterator[bytes]]]):
    """Saves what a function gives, piece by piece; loads where the file is.

    Example:
        .. code-block:: yaml

            image_embeddings_json:
              type: fb_marketplace.datasets.streaming_file.StreamingFileDataset
              filepath: data/07_model_output/image_embeddings.json
              versioned: true
    """

    def save(self, data: Callable[[], Iterator[bytes]]) -> None:
        """Write the pieces one after the other; the file appears with the last of them, or not at all."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        on_disk = isinstance(self._filesystem, LocalFileSystem)
        with self._beside(path) if on_disk else self._at_once(path) as file:
            for piece in data():
                file.write(piece)

    @contextlib.contextmanager
    def _at_once(self, path: str) -> Iterator[Any]:
        with self._filesystem.transaction, self._filesystem.open(path, "wb") as file:
            yield file

    @contextlib.contextmanager
    def _beside(self, path: str) -> Iterator[Any]:
        # A transaction on disk writes into the folder of the system's temporary files, which may be small
        # and on another disk: from there a file is copied, and appears piece by piece.
        part = f"{path}.{os.getpid()}.part"
        try:
            with self._filesystem.open(part, "wb") as file:
                yield file
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.rm_file(part)
            raise
