import numpy as np  # noqa: F401  brings a pool of threads
import pytest
from threadpoolctl import threadpool_info

from fb_marketplace.compute import threads as module
from fb_marketplace.compute.threads import limit_blas_threads, openmp_threads


def test_limit_sets_and_restores_every_thread_pool():
    before = [pool["num_threads"] for pool in threadpool_info()]

    with limit_blas_threads():
        inside = {pool["num_threads"] for pool in threadpool_info()}

    assert inside == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize(
    ("values", "threads"), [("1", 1), ("4,2", 4), (" 3 ", 3), ("", 7), ("0", 7), ("many", 7)]
)
def test_thread_count_follows_omp_num_threads(monkeypatch, values, threads):
    monkeypatch.setattr(module, "available_cores", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", values)

    assert openmp_threads() == threads
