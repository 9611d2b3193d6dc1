"""The whole of a search, from what is typed to hits in order, at 10,000 and 100,000 listings.

On the release of FB_LAKE (``data`` without it): its listings, and more made of them, their vectors between
real neighbours. Titles, their first words, photos and both are asked in turn by 16 clients, each of which
waits for its answer; two threads search, as the server's do on two cores. HTTP and the encoding of photos
are left out: see ``benchmarks/serving.py``. Then each stage alone, on one thread.

Expected before it was measured: 5 ms for the text, 5 ms to gather and 5 ms to rank at 10,000, on a core;
so 16 clients on two cores wait 16 x 15 / 2 = 120 ms. At 100,000 gathering takes twice that: BM25 goes
through more documents, and graphs look further.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import yaml
from numpy.typing import NDArray
from search_vectors import grown

from fb_marketplace.ann.index_selection import select_index
from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.search_artifacts import SearchArtifacts
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.listing_store import ListingStore

PARAMETERS = Path(__file__).parents[1] / "conf/base/parameters_text.yml"
CLIENTS, THREADS = 16, 2
ASKED = 25  # searches of a client
ALONE = 100  # searches of one thread


def main() -> None:
    """Print a row a size, and one a stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    told = parser.parse_args()
    release = Release.open(os.environ.get("FB_LAKE", "data"), encoder_threads=1)
    parts = release.search
    if parts is None:
        print("The current release was built without text search. Run `kedro run` first.")
        return
    faiss.omp_set_num_threads(1)
    parameters = IndexParameters.model_validate(
        yaml.safe_load(PARAMETERS.read_text())["text_index"]
    )
    for size in told.sizes:
        searcher = enlarged(release, parts, size, parameters)
        print(f"\n{size:,} listings, {len(searcher.indexes.image):,} photos")
        measure(searcher, parts, list(queries(release)))


def enlarged(
    release: Release, parts: SearchArtifacts, size: int, parameters: IndexParameters
) -> SearchEngine:
    """Make a release of more listings: each made one has the text of a real one, and about its vectors."""
    real = sorted(release.listings)
    of = [real[place % len(real)] for place in range(size)]
    ids = [f"{place:07}" for place in range(size)]
    listings = {name: release.listings[of[place]] for place, name in enumerate(ids)}
    photos = len(release.index)
    rows = max(photos, round(size * photos / len(real)))
    at = {product: place for place, product in enumerate(real)}
    owner = [at[release.index.product_ids[row % photos]] for row in range(rows)]
    owners = [ids[(each + row // photos * len(real)) % size] for row, each in enumerate(owner)]
    images = [f"{row:08}" for row in range(rows)]
    index, pictures = (
        Index(index_of(found, rows, parameters), images, owners)
        for found in (release.index, parts.text_to_image_index)
    )
    repeated = np.arange(size) % len(real)
    facts = parts.listing_features
    catalogue = ListingStore(
        index,
        listings,
        ListingFeatures.from_columns(
            ids,
            [f"{place // len(real)}-{facts.family[each]}" for place, each in enumerate(repeated)],
            facts.latitude[repeated],
            facts.longitude[repeated],
            facts.description_words[repeated],
            facts.photo_pixels[repeated],
        ),
    )
    texts = Index(index_of(parts.text_index, size, parameters), ids, ids)
    searched = SearchIndexes(catalogue, index, pictures, texts, repeated_words(parts.bm25, size))
    return SearchEngine(searched, parts.ranker, release.manifest.labels)


def index_of(index: Index, rows: int, parameters: IndexParameters) -> FaissIndex:
    """Index vectors, and more between them, as the pipeline would choose to."""
    matrix = grown(index.vectors(np.arange(len(index))), rows)
    return select_index(FaissIndex(flat_index([matrix])), parameters).vectors


def repeated_words(words: BM25Index, size: int) -> BM25Index:
    """Give the same terms to every listing that repeats another."""
    vocabulary, starts, rows, scores = words.matrix
    reach = -(-size // words.documents)
    term = np.repeat(np.arange(len(vocabulary)), np.diff(starts))
    shifted = np.concatenate([rows + turn * words.documents for turn in range(reach)])
    terms, values = np.tile(term, reach), np.tile(scores, reach)
    kept = shifted < size
    order = np.lexsort((shifted[kept], terms[kept]))
    counts = np.bincount(terms[kept], minlength=len(vocabulary))
    return BM25Index(
        vocabulary,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        shifted[kept][order].astype(np.int32),
        values[kept][order],
        size,
    )


def queries(release: Release) -> Iterator[tuple[str, NDArray[np.float32] | None]]:
    """Give what is asked: words, and the embedding of a photo or nothing."""
    index = release.index
    for place, row in enumerate(np.linspace(0, len(index) - 1, 400).astype(int).tolist()):
        title = release.listings[index.product_ids[row]].title
        vector = index.vectors(np.array([row]))[0]
        yield (
            (title, None),
            (shorten_title(title), None),
            ("", vector),
            (shorten_title(title), vector),
        )[place % 4]


def put(parts: SearchArtifacts, asked: tuple[str, NDArray[np.float32] | None]) -> QueryVectors:
    """Encode what is asked."""
    text, photo = asked
    if not text:
        return QueryVectors(photo=photo)
    meaning, pictured = parts.text_encoder.encode([text])
    return QueryVectors(text, meaning[0], pictured[0], photo)


def measure(
    searcher: SearchEngine,
    parts: SearchArtifacts,
    asked: list[tuple[str, NDArray[np.float32] | None]],
) -> None:
    """Print what clients wait, then what each stage takes alone."""
    with ThreadPoolExecutor(THREADS) as searching, ThreadPoolExecutor(CLIENTS) as clients:

        def one(turn: int) -> float:
            started = time.perf_counter()
            searching.submit(lambda: searcher.search(put(parts, asked[turn % len(asked)]))).result()
            return time.perf_counter() - started

        list(clients.map(one, range(CLIENTS * 2)))
        started = time.perf_counter()
        waits = list(clients.map(one, range(CLIENTS * ASKED)))
        seconds = time.perf_counter() - started
    print(
        f"  {CLIENTS} clients: {len(waits) / seconds:.0f} searches a second, "
        f"p50 {1000 * statistics.median(waits):.1f} ms, p99 {1000 * np.quantile(waits, 0.99):.1f} ms"
    )
    stages: dict[str, list[float]] = {}

    @contextmanager
    def timed(stage: Any) -> Iterator[None]:
        started = time.perf_counter()
        yield
        stages.setdefault(stage, []).append(time.perf_counter() - started)

    for turn in range(ALONE):
        text, _ = asked[turn % len(asked)]
        with timed("text" if text else "no text"):
            query = put(parts, asked[turn % len(asked)])
        with timed("all but the text"):
            searcher.search(query, timer=timed)
    stages.pop("no text", None)
    for stage, times in stages.items():
        print(
            f"  {stage} alone: p50 {1000 * statistics.median(times):.1f} ms, "
            f"p99 {1000 * np.quantile(times, 0.99):.1f} ms"
        )


if __name__ == "__main__":
    main()
