"""The search engines ``faiss`` and ``lance`` on the listings of a release: equal results, recall and times.

The tables are written to a folder, or to SeaweedFS behind a proxy (``tests/support/fault_proxy.py``) that
adds a latency to each request. The server and the proxy share the cores with the searches.

Expected before the measurement: the same first ten in all searches, since both engines compare candidates
by exact distances, and Recall@10 of 1 with filters. In a folder, `lance` takes several times as long: each
query passes through its query planner, 1 to 10 ms. In the bucket, the first searches wait for a few
requests each, until the vectors that they share are cached.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from bucket import behind_proxy, seaweed
from numpy.typing import NDArray

from fb_marketplace.ann.vector_tables import write_vector_table
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
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
    parser.add_argument("--rows", type=int, help="interpolated photo vectors, without listings")
    options = parser.parse_args()
    release = Release.open(options.lake)
    assert release.search is not None
    with tables_root(options.latency) as root:
        if options.rows:
            matrix = interpolate(release.index, options.rows)
            names = [""] * options.rows
            index = Index(FaissIndex(flat_index([matrix])), names, names)
            compare_filters(index, as_table(index, f"{root}/rows"), options.queries)
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
    query = QueryVectors.of_words(words, parts.text_encoder.encode([words]))
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


def interpolate(index: Index, count: int) -> NDArray[np.float32]:
    """Return unit vectors between random pairs of the index, each with a small shift."""
    random, parts = np.random.default_rng(2), []
    for start in range(0, count, 100_000):
        size = min(100_000, count - start)
        one, two = (index.vectors(random.integers(len(index), size=size)) for _ in range(2))
        parts.append(shifted(one + random.random((size, 1), np.float32) * (two - one), random))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
