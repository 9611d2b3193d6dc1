"""Searches in many threads during index swaps."""

import threading
import time

import faiss
import numpy as np
import pytest

from fb_marketplace_serving.ann import faiss_index
from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import KINDS
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.knn import limit_faiss_threads

THREADS, DIMENSION = 16, 16


@pytest.fixture(scope="module")
def versions():
    """An index of each kind, over vectors of its own; ids name the version that they are of."""
    indexes_by_kind = []
    for version, kind in enumerate(KINDS):
        vectors = np.random.default_rng(version).normal(size=(600, DIMENSION)).astype(np.float32)
        index = build_index(kind, flat_index([vectors]))
        index.set_search_params(list(search_settings(index))[-1])
        names = [f"v{version} {row}" for row in range(600)]
        indexes_by_kind.append(Index(index, names, names))
    return indexes_by_kind


@pytest.mark.parametrize(
    "seconds", [2, pytest.param(60, marks=pytest.mark.stress)], ids=["2 s", "60 s"]
)
def test_search_in_16_threads_is_right_during_index_swaps(versions, seconds, monkeypatch):
    # So that the index, and not a scan, answers the filter, of these few rows too.
    for name in ("EXACT_ROWS", "_MAX_INDEX_SHARE"):
        monkeypatch.setattr(faiss_index, name, 0)
    queries = np.random.default_rng(9).normal(size=(8, DIMENSION)).astype(np.float32)
    keep = np.random.default_rng(8).random(600) < 0.6
    # What is answered right is what each version answers when nothing else goes on.
    expected = {
        (version, place): named(index, queries[place], filtered)
        for version, index in enumerate(versions)
        for place, filtered in enumerate([None] * 4 + [keep] * 4)
    }
    existing, until = [versions[0]], time.monotonic() + seconds
    params, right, wrong = [0] * THREADS, [0] * THREADS, []

    def ask(thread):
        place = thread % 8
        # Once at the least, however late a busy machine lets it begin.
        while not params[thread] or time.monotonic() < until:
            params[thread] += 1
            index = existing[0]
            result = named(index, queries[place], keep if place >= 4 else None)
            if result == expected[versions.index(index), place]:
                right[thread] += 1
            else:
                wrong.append(result)

    def swap():
        turn = 0
        while time.monotonic() < until:
            turn += 1
            existing[0] = versions[turn % len(versions)]
            time.sleep(0.001)

    threads = [threading.Thread(target=ask, args=(item,)) for item in range(THREADS)]
    threads.append(threading.Thread(target=swap))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert sum(params) == sum(right)
    assert min(right) > 0


def named(index, query, keep):
    rows, distances = index.search(query, 5, keep)
    return [index.image_ids[row] for row in rows], distances.tolist()


def test_nested_limit_of_faiss_threads_keeps_one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        with limit_faiss_threads():
            with limit_faiss_threads():
                pass
            inside = faiss.omp_get_max_threads()
        assert (inside, faiss.omp_get_max_threads()) == (1, 2)
    finally:
        faiss.omp_set_num_threads(before)
