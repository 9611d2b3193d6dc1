import numpy as np  # noqa: F401  brings a pool of threads
from threadpoolctl import threadpool_info

from fb_marketplace.threads import one_thread


def test_every_pool_has_one_thread_inside_and_as_many_as_before_after():
    before = [pool["num_threads"] for pool in threadpool_info()]

    with one_thread():
        inside = {pool["num_threads"] for pool in threadpool_info()}

    assert inside == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
