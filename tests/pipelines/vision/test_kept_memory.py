import resource
import sys

import pytest
import torch

from fb_marketplace.pipelines.vision.kept_memory import kept_memory


def pages_asked_for(times: int) -> int:
    """Count the pages that the system gave for tensors of 32 MB, one freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(8 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_is_freed_is_not_asked_for_anew():
    with kept_memory():
        pages_asked_for(1)
        kept = pages_asked_for(10)

    assert kept < 0.5 * pages_asked_for(10)


def test_it_ends_where_the_work_inside_fails():
    with pytest.raises(ZeroDivisionError), kept_memory():
        _ = 1 / 0
