"""A file that is written in chunks, since it may be larger than memory."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from fb_marketplace.datasets.file import FileReferenceDataset


class StreamingFileDataset(FileReferenceDataset[Callable[[], Iterator[bytes]]]):
    """Saves the chunks that a function yields. Loads a reference to the file.

    Example:
        .. code-block:: yaml

            image_embeddings_json:
              type: fb_marketplace.datasets.streaming_file.StreamingFileDataset
              filepath: data/07_model_output/image_embeddings.json
              versioned: true
    """

    def save(self, data: Callable[[], Iterator[bytes]]) -> None:
        """Write the chunks; the file becomes visible after the last one."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        is_local = isinstance(self._filesystem, LocalFileSystem)
        with self._renamed(path) if is_local else self._in_transaction(path) as file:
            for chunk in data():
                file.write(chunk)

    @contextlib.contextmanager
    def _in_transaction(self, path: str) -> Iterator[Any]:
        with self._filesystem.transaction, self._filesystem.open(path, "wb") as file:
            yield file

    @contextlib.contextmanager
    def _renamed(self, path: str) -> Iterator[Any]:
        # A local fsspec transaction writes to the system's temporary folder, which may be small and on
        # another disk. The file would then be copied, and be visible while incomplete.
        part = f"{path}.{os.getpid()}.part"
        try:
            with self._filesystem.open(part, "wb") as file:
                yield file
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.rm_file(part)
            raise
