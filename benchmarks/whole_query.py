"""Time complete searches, from query text to ranked hits, at 10,000 and 100,000 listings.

Uses the release in FB_LAKE (``data`` by default): its listings, repeated, with vectors between real
neighbors. 16 clients send titles, short titles, photos and both in turn, each waiting for its response; two
threads search, like the server's on two cores. HTTP and the encoding of photos are not included: see
``benchmarks/serving.py``. Searches with and without the relevance model take turns, and searches of texts
that were encoded before, whose embeddings are cached. All others encode their text. Then each stage by
itself, on one thread. Then searches by words in each order, in turn; their results must equal brute force,
which computes the probability of each listing by itself.

Expected before measuring: 5 ms for the text, 5 ms to collect and 5 ms to rank at 10,000, on a core; so 16
clients on two cores wait 16 x 15 / 2 = 120 ms. At 100,000 collecting takes twice as long: BM25 scans more
documents, and graph searches go further. A sort takes 1 ms more.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import faiss
import numpy as np
import yaml
from numpy.typing import NDArray
from search_vectors import enlarge

from fb_marketplace.ann.index_selection import build_selected, select_index
from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.search_artifacts import SearchArtifacts
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.candidates import (
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.engine import SearchEngine, Sort
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.listing_store import ListingStore, SortKey
from fb_marketplace_serving.search.ranking.ranking_features import compute_features
from fb_marketplace_serving.search.ranking.relevance import RelevanceFeatures

ClientQuery = tuple[str, NDArray[np.float32] | None]
"""A text, which may be empty, and the embedding of a photo."""

PARAMETERS = Path(__file__).parents[1] / "conf/base/parameters_text.yml"
REPEATED = "relevance, repeated texts"
CLIENTS, THREADS = 16, 2
CLIENT_SEARCHES = 25
TURNS = 5
STAGE_SEARCHES = 100
SORTED_SEARCHES = 100
CHECKED_SEARCHES = 12


def main() -> None:
    """Print latencies for each size and stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    args = parser.parse_args()
    release = Release.open(os.environ.get("FB_LAKE", "data"), encoder_threads=1)
    parts = release.search
    if parts is None:
        print("The current release was built without text search. Run `kedro run` first.")
        return
    faiss.omp_set_num_threads(1)
    parameters = IndexParameters.model_validate(
        yaml.safe_load(PARAMETERS.read_text())["text_index"]
    )
    for size in args.sizes:
        searcher = repeat_listings(release, parts, size, parameters)
        print(f"\n{size:,} listings, {len(searcher.indexes.image):,} photos")
        plain = SearchEngine(searcher.indexes, parts.ranker, release.manifest.labels)
        client_queries = list(queries(release))
        engines = {"relevance": searcher, "no relevance": plain, REPEATED: searcher}
        compare_clients(engines, parts, client_queries)
        for name, engine in (("", searcher), (", no relevance", plain)):
            time_stages(engine, parts, client_queries, name)
        compare_orders(searcher, parts, release, [text for text, _ in client_queries if text])


def repeat_listings(
    release: Release, parts: SearchArtifacts, size: int, parameters: IndexParameters
) -> SearchEngine:
    """Return a search engine over repeated listings, with the same texts and similar vectors."""
    real = sorted(release.listings)
    ids = [f"{number:07}" for number in range(size)]
    listings = {name: release.listings[real[number % len(real)]] for number, name in enumerate(ids)}
    photos = len(release.index)
    rows = max(photos, round(size * photos / len(real)))
    position = {product: number for number, product in enumerate(real)}
    owner = [position[release.index.product_ids[row % photos]] for row in range(rows)]
    owners = [ids[(first + row // photos * len(real)) % size] for row, first in enumerate(owner)]
    images = [f"{row:08}" for row in range(rows)]
    index, pictures = (
        Index(enlarge_index(source, rows, parameters), images, owners)
        for source in (release.index, parts.text_to_image_index)
    )
    repeated = np.arange(size) % len(real)
    facts = parts.listing_features
    catalogue = ListingStore(
        index,
        listings,
        ListingFeatures.from_columns(
            ids,
            [f"{i // len(real)}-{facts.family[row]}" for i, row in enumerate(repeated)],
            facts.latitude[repeated],
            facts.longitude[repeated],
            facts.description_words[repeated],
            facts.photo_pixels[repeated],
            facts.age_days[repeated],
        ),
    )
    texts = Index(enlarge_index(parts.text_index, size, parameters), ids, ids)
    searched = SearchIndexes(catalogue, index, pictures, texts, repeat_documents(parts.bm25, size))
    return SearchEngine(searched, parts.ranker, release.manifest.labels, parts.relevance_model)


def enlarge_index(index: Index, rows: int, parameters: IndexParameters) -> FaissIndex:
    """Build the index that the pipeline would build for more vectors."""
    matrix = enlarge(index.vectors(np.arange(len(index))), rows)
    vectors = FaissIndex(flat_index([matrix]))
    return build_selected(vectors, select_index(vectors, parameters), parameters).vectors


def repeat_documents(words: BM25Index, size: int) -> BM25Index:
    """Return an index in which repeated listings have the same terms."""
    vocabulary, starts, rows, scores, in_title = words.matrix
    reach = -(-size // words.documents)
    term = np.repeat(np.arange(len(vocabulary)), np.diff(starts))
    shifted = np.concatenate([rows + turn * words.documents for turn in range(reach)])
    terms, values, titles = (np.tile(column, reach) for column in (term, scores, in_title))
    inside = shifted < size
    order = np.lexsort((shifted[inside], terms[inside]))
    counts = np.bincount(terms[inside], minlength=len(vocabulary))
    return BM25Index(
        vocabulary,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        shifted[inside][order].astype(np.int32),
        values[inside][order],
        size,
        titles[inside][order],
    )


def queries(release: Release) -> Iterator[ClientQuery]:
    """Yield queries: text, and the embedding of a photo or None."""
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


def encode(parts: SearchArtifacts, query: ClientQuery) -> QueryVectors:
    """Encode a query."""
    text, photo = query
    if not text:
        return QueryVectors(photo=photo)
    encoding = parts.text_encoder.encode([text])
    return QueryVectors(
        text, encoding.text_embedding[0], encoding.text_to_image_embedding[0], photo
    )


def compare_clients(
    engines: dict[str, SearchEngine], parts: SearchArtifacts, client_queries: list[ClientQuery]
) -> None:
    """Print the latency of clients of each engine, in turn, and the ratios of throughputs."""
    rates: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    with ThreadPoolExecutor(THREADS) as searching, ThreadPoolExecutor(CLIENTS) as clients:
        for turn in range(TURNS + 1):
            for name, engine in engines.items():

                def one(number: int, engine: SearchEngine = engine) -> float:
                    started = time.perf_counter()
                    query = client_queries[number % len(client_queries)]

                    def search() -> None:
                        with INTERPRETER.hold():
                            engine.search(encode(parts, query))

                    searching.submit(search).result()
                    return time.perf_counter() - started

                if name != REPEATED:
                    parts.text_encoder.clear_cache()
                started, used = time.perf_counter(), time.process_time()
                seconds = list(clients.map(one, range(CLIENTS * CLIENT_SEARCHES)))
                if turn:  # The first is a warm-up.
                    rate = len(seconds) / (time.perf_counter() - started)
                    used = (time.process_time() - used) / len(seconds)
                    processor.setdefault(name, []).append(used)
                    rates.setdefault(name, []).append(rate)
                    waits.setdefault(name, []).extend(seconds)
    for name, seconds in waits.items():
        print(
            f"  {CLIENTS} clients, {name}: {statistics.median(rates[name]):.0f} searches a second, "
            f"p50 {1000 * statistics.median(seconds):.1f} ms, "
            f"p99 {1000 * np.quantile(seconds, 0.99):.1f} ms, "
            f"{1000 * statistics.median(processor[name]):.1f} ms of CPU"
        )
    (first, reference), *others = rates.items()
    for name, values in others:
        ratios = [left / right for left, right in zip(reference, values, strict=True)]
        print(f"  {first} / {name}: {statistics.median(ratios):.2f}")


def time_stages(
    searcher: SearchEngine, parts: SearchArtifacts, client_queries: list[ClientQuery], name: str
) -> None:
    """Print the latency of each stage by itself."""
    stages: dict[str, list[float]] = {}
    parts.text_encoder.clear_cache()

    @contextmanager
    def timed(stage: Any) -> Iterator[None]:
        started = time.perf_counter()
        yield
        stages.setdefault(stage, []).append(time.perf_counter() - started)

    for turn in range(STAGE_SEARCHES):
        text, _ = client_queries[turn % len(client_queries)]
        with timed("text" if text else "no text"):
            query = encode(parts, client_queries[turn % len(client_queries)])
        with timed("all but the text"):
            searcher.search(query, timer=timed)
    stages.pop("no text", None)
    for stage, times in stages.items():
        print(
            f"  {stage}{name}: p50 {1000 * statistics.median(times):.1f} ms, "
            f"p99 {1000 * np.quantile(times, 0.99):.1f} ms"
        )


def compare_orders(
    searcher: SearchEngine, parts: SearchArtifacts, release: Release, texts: list[str]
) -> None:
    """Print the latency of each order, in turn; raise an error if results differ from brute force."""
    listings = searcher.listings
    known = np.flatnonzero(~np.isnan(listings.features.latitude))
    filters = SearchFilters()
    orders = [order for order in get_args(SortKey) if order != "newest" or listings.has_dates]
    if len(known):
        features, first = listings.features, known[0]
        filters = SearchFilters(
            location=GeoFilter(float(features.latitude[first]), float(features.longitude[first]))
        )
    else:
        orders.remove("distance")
    times: dict[Sort, list[float]] = {}
    for number, text in enumerate(texts[:SORTED_SEARCHES]):
        query = encode(parts, (text, None))
        expected = brute_force(parts, release, searcher, query, filters)
        for order in ("relevance", *orders):
            started = time.perf_counter()
            hits = searcher.search(query, filters, order).hits
            times.setdefault(order, []).append(time.perf_counter() - started)
            if number < CHECKED_SEARCHES:
                assert [[hit.position, *hit.duplicates] for hit in hits] == expected(order)
    best = statistics.median(times["relevance"])
    for order, seconds in times.items():
        median = statistics.median(seconds)
        print(f"  order {order}: p50 {1000 * median:.1f} ms, {median / best:.2f} x relevance")
    checked = min(CHECKED_SEARCHES, len(texts)) * len(times)
    print(f"  {checked} searches equal brute force over {len(listings):,} listings")


def brute_force(
    parts: SearchArtifacts,
    release: Release,
    searcher: SearchEngine,
    query: QueryVectors,
    filters: SearchFilters,
) -> Callable[[Sort], list[list[int]]]:
    """Return a function that sorts the relevant listings in an order: positions of each family."""
    model, ranker, listings = parts.relevance_model, parts.ranker, searcher.listings
    assert model is not None
    assert ranker is not None

    def sort(order: Sort) -> list[list[int]]:
        every, labels = np.arange(len(listings)), release.manifest.labels
        candidates = collect_candidates(searcher.indexes, query)
        features = RelevanceFeatures(searcher.indexes, query, candidates, labels).matrix(every)
        probability = model.probabilities(features)
        scores = np.full(len(every), -np.inf)
        scores[candidates.positions] = ranker.scores(
            compute_features(candidates, query, listings, labels, filters.location)
        )
        keys = {
            "newest": -listings.created_at,
            "price_asc": listings.meant_price,
            "price_desc": -listings.meant_price,
        }.get(order, np.zeros(len(every)))
        if order == "distance" and filters.location:
            keys = listings.distances(filters.location)
        ties = np.where(np.isinf(scores), -probability, 0.0)
        families: dict[int, list[int]] = {}
        for position in np.lexsort((every, ties, -scores, keys)).tolist():
            if probability[position] >= model.threshold:
                families.setdefault(listings.features.family[position], []).append(position)
        return list(families.values())

    return sort


if __name__ == "__main__":
    main()
