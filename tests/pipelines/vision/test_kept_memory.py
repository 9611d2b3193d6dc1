import ctypes
import resource

import pytest
import torch

from fb_marketplace.pipelines.vision.kept_memory import kept_memory

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc's allocator")


def pages_asked_for(times: int, megabytes: int = 128) -> int:
    """Count the pages that the system gave for tensors, one freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(megabytes * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_what_is_freed_is_not_asked_for_anew():
    with kept_memory():
        pages_asked_for(1)
        kept = pages_asked_for(10)

    assert kept < 0.5 * pages_asked_for(10)


@glibc
def test_it_ends_where_the_work_inside_fails():
    def fail():
        with kept_memory():
            pages_asked_for(1)
            kept.append(pages_asked_for(10))
            _ = 1 / 0

    kept = []
    with pytest.raises(ZeroDivisionError):
        fail()

    assert kept[0] < 0.5 * pages_asked_for(10)


@glibc
def test_smaller_tensors_cost_no_more_than_without_it():
    pages_asked_for(3, megabytes=4)
    before = pages_asked_for(20, megabytes=4)
    with kept_memory():
        pages_asked_for(3, megabytes=4)

    pages_asked_for(3, megabytes=4)
    assert pages_asked_for(20, megabytes=4) <= before + 2000  # one tensor is 1,024 pages
