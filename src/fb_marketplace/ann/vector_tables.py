"""Writer of the Lance tables that servers search if the search engine is ``lance``."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.retries import retry_on_store_error
from fb_marketplace_serving.ann.candidate_source import CandidateSource
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.vector_table import VECTOR
from fb_marketplace_serving.storage.lance_options import lance_options

ROWS_PER_BATCH: Final = 65_536

KIND: Final = "IVF_SQ"
"""Kind of index, with one byte per number. ``IVF_RQ`` with half a byte, a smaller kind, lost rows that a
filter passed far from the query."""


class WrittenTable(NamedTuple):
    """A table that was written.

    Attributes:
        version: its version.
        index_sha256: checksum of the FAISS index with the same vectors.
    """

    version: int
    index_sha256: str


@dataclass(frozen=True, slots=True)
class VectorTableSource:
    """A FAISS index whose vectors become a table.

    Attributes:
        index: the index.
        parameters: number of vectors from which on they are indexed.
    """

    index: FileRef
    parameters: SearchParameters

    def write(self, url: str) -> WrittenTable:
        """Write the table to a path or URL."""
        content = self.index.read()
        version = write_vector_table(url, FaissIndex.read(content), self.parameters)
        return WrittenTable(version, sha256(content))


@retry_on_store_error
def write_vector_table(url: str, source: CandidateSource, parameters: SearchParameters) -> int:
    """Write vectors to a table, in one fragment, and index them.

    Args:
        url: path or URL of the table. What a failed attempt left there is removed.
        source: the vectors.
        parameters: number of vectors from which on they are indexed.

    Returns:
        The version of the table.
    """
    import lance
    import pyarrow as pa

    # The ids of rows are positions only in fragment 0, and a replaced table continues with fragment 1.
    filesystem, path = open_root(url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(path, recursive=True)
    schema = pa.schema([pa.field(VECTOR, pa.list_(pa.float32(), source.dimension), nullable=False)])

    def batches() -> Iterator[Any]:
        for start in range(0, len(source), ROWS_PER_BATCH):
            rows = np.arange(start, min(start + ROWS_PER_BATCH, len(source)))
            values = pa.array(source.vectors(rows).ravel())
            column = pa.FixedSizeListArray.from_arrays(values, source.dimension)
            yield pa.record_batch([column], schema=schema)

    dataset = lance.write_dataset(
        pa.RecordBatchReader.from_batches(schema, batches()),
        url,
        schema=schema,
        mode="create",
        max_rows_per_file=max(1, len(source)),
        max_bytes_per_file=1 << 50,
        storage_options=lance_options(url),
    )
    if len(source) >= parameters.min_indexed_vectors:
        dataset.create_index(VECTOR, KIND, metric="L2")
        dataset = dataset.checkout_version(dataset.latest_version)
    return int(dataset.version)
