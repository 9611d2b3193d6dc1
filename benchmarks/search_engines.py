"""The search engines ``faiss`` and ``lance`` on the listings of a release: equal results, recall and times.

The tables are written to a folder, or to SeaweedFS behind a proxy (``tests/support/fault_proxy.py``) that
adds a latency to each request. The server and the proxy share the cores with the searches.

Expected before the measurement: the same first ten in all searches, since both engines compare candidates
by exact distances, and Recall@10 of 1 with filters. In a folder, `lance` takes several times as long: each
query passes through its query planner, 1 to 10 ms. In the bucket, the first searches wait for a few
requests each, until the vectors that they share are cached.

``--rows 10000000`` writes and indexes as many vectors in a process of its own, and prints its peak memory.
Expected: below 4 GB, since the vectors are streamed and clusters are trained on a sample. Recall@10 above
0.95 without a filter, 1.0 with one, since then all clusters are searched; so a filter costs as much as
reading the quantized vectors, 2.6 GB.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from bucket import behind_proxy, seaweed
from numpy.typing import NDArray

from fb_marketplace.ann.vector_tables import ROWS_PER_BATCH, write_vector_table
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.ann import knn
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import CACHE_BYTES, VectorTable
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.search_artifacts import SearchArtifacts
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listings.filters import SearchFilters
from fb_marketplace_serving.search.listings.listing_store import ListingStore

PARAMETERS: Final = SearchParameters(engine="lance", min_indexed_vectors=4096)
SHARES: Final = (1.0, 0.5, 0.1, 0.01, 0.001)
KINDS: Final = ("words", "photo", "photo and words")
TOP: Final = 10
SHIFT: Final = 0.3
"""Length of the random vector that is added to a vector to make a query."""


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lake", default=os.environ.get("FB_LAKE", "data"))
    parser.add_argument("--queries", type=int, default=500, help="of each kind")
    parser.add_argument("--latency", type=float, help="seconds; measures a bucket, not a folder")
    parser.add_argument(
        "--rows",
        type=int,
        help="measures a table of this many interpolated photo vectors, without listings and `faiss`",
    )
    options = parser.parse_args()
    release = Release.open(options.lake)
    assert release.search is not None
    with tables_root(options.latency) as root:
        if options.rows:
            vectors = InterpolatedVectors(release.index, options.rows)
            measure_scale(vectors, f"{root}/rows", options.queries)
            return
        engine = open_engine(release, release.search, None)
        other = open_engine(release, release.search, root)
        titles = [listing.title for listing in release.listings.values()]
        compare_searches(engine, other, release.search, titles, options.queries)
        compare_filters(engine.indexes.image, other.indexes.image, options.queries)


@contextlib.contextmanager
def tables_root(latency: float | None) -> Iterator[str]:
    """Yield the folder or bucket for the tables."""
    if latency is None:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    with seaweed.running() as server:
        os.environ.update(server.environment)
        bucket = server.make_bucket("tables")
        with behind_proxy(server, latency):
            yield bucket


def as_table(index: Index, url: str) -> Index:
    """Write the vectors of an index to a table, and return an index that reads them there."""
    started = time.perf_counter()
    version = write_vector_table(url, index.source, PARAMETERS)
    seconds = time.perf_counter() - started
    print(f"{Path(url).name}: {len(index):,} vectors written and indexed in {seconds:.1f} s")
    table = VectorTable.open(url, version, CACHE_BYTES // 3)
    return Index(table, index.image_ids, index.product_ids)


def open_engine(release: Release, parts: SearchArtifacts, root: str | None) -> SearchEngine:
    """Return the search engine of a release, with tables below a root in place of its indexes."""
    indexes = {
        "image": release.index,
        "text_to_image": parts.text_to_image_index or Index.empty(),
        "text": parts.text_index,
    }
    if root:
        indexes = {name: as_table(index, f"{root}/{name}") for name, index in indexes.items()}
    store = ListingStore(indexes["image"], release.listings, parts.listing_features)
    search_indexes = SearchIndexes(store, bm25=parts.bm25, **indexes)
    return SearchEngine(
        search_indexes, parts.ranker, release.manifest.labels, parts.relevance_model
    )


def compare_searches(
    engine: SearchEngine,
    other: SearchEngine,
    parts: SearchArtifacts,
    titles: Sequence[str],
    count: int,
) -> None:
    """Compare the first ten hits of complete searches, with and without filters."""
    random = np.random.default_rng(0)
    print(f"\n{'query':<16} filtered  same first {TOP}   faiss p50/p99 ms   lance p50/p99 ms")
    for kind in KINDS:
        for is_filtered in (False, True):
            same, times = 0, np.zeros((2, count))
            for number in range(count):
                query = draw_query(engine, parts, titles, kind, random)
                filters = draw_filters(engine, random) if is_filtered else SearchFilters()
                results = []
                for place, candidate in enumerate((engine, other)):
                    started = time.perf_counter()
                    hits = candidate.search(query, filters).hits
                    times[place, number] = time.perf_counter() - started
                    # As text, since a listing that is no candidate has the score NaN.
                    results.append([(hit.position, str(hit.score)) for hit in hits[:TOP]])
                same += results[0] == results[1]
            print(f"{kind:<16} {is_filtered!s:<8}  {same} of {count}   {percentiles(times)}")


def draw_query(
    engine: SearchEngine,
    parts: SearchArtifacts,
    titles: Sequence[str],
    kind: str,
    random: np.random.Generator,
) -> QueryVectors:
    """Return a query from a random title, a shifted photo, or both."""
    words = titles[random.integers(len(titles))]
    query = QueryVectors.from_words(words, parts.text_encoder.encode([words]))
    if kind == "words":
        return query
    photos = engine.indexes.image
    photo = shifted(photos.vectors(random.integers(len(photos), size=1)), random)[0]
    return QueryVectors(photo=photo) if kind == "photo" else query._replace(photo=photo)


def draw_filters(engine: SearchEngine, random: np.random.Generator) -> SearchFilters:
    """Return a random category and maximum price."""
    categories = engine.listings.categories
    category = categories[random.integers(len(categories))]
    return SearchFilters(categories=(category,), max_price=float(random.integers(5, 500)))


def compare_filters(index: Index, other: Index, count: int) -> None:
    """Compare nearest photos behind filters that keep random rows, or all rows far in a direction."""
    random, rows = np.random.default_rng(1), np.arange(len(index))
    matrix = index.vectors(rows)
    print("\nshare of rows   selection    Recall@10   same first 10   faiss, lance p50/p99 ms")
    for share in SHARES:
        for selection in ("random", "similar"):
            recall, same, times = 0.0, 0, np.zeros((2, count))
            for number in range(count):
                query = shifted(matrix[random.integers(len(matrix), size=1)], random)[0]
                values = random.random(len(matrix))
                if selection == "similar":
                    values = matrix @ random.normal(size=index.dimension).astype(np.float32)
                mask = values <= np.quantile(values, share) if share < 1 else None
                results = []
                for place, candidate in enumerate((index, other)):
                    started = time.perf_counter()
                    results.append(candidate.search(query, TOP, mask).rows.tolist())
                    times[place, number] = time.perf_counter() - started
                recall += len({*results[0]} & {*results[1]}) / len(results[0]) / count
                same += results[0] == results[1]
            print(
                f"{share:<15} {selection:<12} {recall:.4f}      {same} of {count}      {percentiles(times)}"
            )


def percentiles(times: NDArray[np.float64]) -> str:
    """Format the p50 and p99 of each row of times, in milliseconds."""
    return "   ".join(
        f"{np.quantile(row, 0.5) * 1e3:7.1f} /{np.quantile(row, 0.99) * 1e3:7.1f}" for row in times
    )


def shifted(vectors: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return unit vectors near some unit vectors."""
    moved = random.normal(size=vectors.shape) * SHIFT / np.sqrt(vectors.shape[1]) + vectors
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return moved.astype(np.float32)


class InterpolatedVectors:
    """Unit vectors between random pairs of an index, each with a small shift. A candidate source to write.

    They are computed when they are read, a block of ``ROWS_PER_BATCH`` rows at a time, always the same.
    """

    def __init__(self, index: Index, count: int) -> None:
        """Read the vectors of an index.

        Args:
            index: the index.
            count: number of vectors.
        """
        self._vectors = index.vectors(np.arange(len(index)))
        self._count, self.dimension = count, index.dimension

    def __len__(self) -> int:
        return self._count

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of the rows of a block: float32, (rows, dimension)."""
        random = np.random.default_rng([2, int(rows[0])])
        one, two = self._vectors[random.integers(len(self._vectors), size=(2, len(rows)))]
        return shifted(one + random.random((len(rows), 1), np.float32) * (two - one), random)

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each block."""
        for start in range(0, self._count, ROWS_PER_BATCH):
            yield np.arange(start, min(start + ROWS_PER_BATCH, self._count))


def measure_scale(source: InterpolatedVectors, url: str, count: int) -> None:
    """Write and index many vectors, and search them with filters that pass random rows."""
    started = time.perf_counter()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        version, peak = pool.submit(write_measured, source, url).result()
    seconds = time.perf_counter() - started
    table = VectorTable.open(url, version, CACHE_BYTES)
    filesystem, path = open_root(url)
    print(
        f"{len(source):,} vectors written and indexed in {seconds:.0f} s, peak memory "
        f"{peak / 1e9:.2f} GB, {filesystem.du(path) / 1e9:.1f} GB of files"
    )
    random = np.random.default_rng(1)
    queries = shifted(source.vectors(next(source.blocks()))[:count], random)
    print("share of rows   Recall@10   p50/p99 ms of the first half   of the second half")
    draws = random.random(len(source), np.float32)
    for share, expected in zip(SHARES, exact_nearest(source, queries, draws), strict=True):
        allowed = None if share == 1 else np.flatnonzero(draws < share)
        recall, times = 0.0, np.zeros(count)
        for number, query in enumerate(queries):
            started = time.perf_counter()
            rows, _ = knn.nearest_neighbors(table, query[None], TOP, allowed)
            times[number] = time.perf_counter() - started
            recall += len({*rows[0].tolist()} & {*expected[number].tolist()}) / TOP / count
        print(f"{share:<15} {recall:.4f}      {percentiles(times.reshape(2, -1))}")


def write_measured(source: InterpolatedVectors, url: str) -> tuple[int, int]:
    """Write a table. Return its version, and this process's peak memory in bytes."""
    version = write_vector_table(url, source, PARAMETERS)
    return version, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def exact_nearest(
    source: InterpolatedVectors, queries: NDArray[np.float32], draws: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Compare all rows, for each share those that are drawn: int64, (shares, queries, TOP)."""
    rows = np.zeros((len(SHARES), len(queries), TOP), np.int64)
    products = np.full(rows.shape, -np.inf, np.float32)
    for block in source.blocks():
        block_products = queries @ source.vectors(block).T
        for number, share in enumerate(SHARES):
            is_drawn = draws[block] < share
            drawn = np.broadcast_to(block[is_drawn], (len(queries), is_drawn.sum()))
            candidates = np.hstack([rows[number], drawn])
            scores = np.hstack([products[number], block_products[:, is_drawn]])
            best = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
            rows[number] = np.take_along_axis(candidates, best, axis=1)
            products[number] = np.take_along_axis(scores, best, axis=1)
    return rows


if __name__ == "__main__":
    main()
