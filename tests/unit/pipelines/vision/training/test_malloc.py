"""In a process of its own: what a heap gives back depends on all that was ever put on it."""

import ctypes
import json
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc's allocator")

LARGE = 10 * 48 * 2**20 // 4096
SMALL = 20 * 4 * 2**20 // 4096
"""Pages of the tensors that are made, if each were asked for anew; of one or two they are."""

SCRIPT = """
import json, resource, torch
from fb_marketplace.pipelines.vision.training.malloc import reuse_freed_memory

def asked_for(times, megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(megabytes * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def measure(fails):
    asked_for(3, 4)
    found = {"small_before": asked_for(20, 4), "large_before": asked_for(10, 48)}
    try:
        with reuse_freed_memory():
            asked_for(2, 48)
            found["large_kept"] = asked_for(10, 48)
            asked_for(3, 4)
            if fails:
                1 / 0
    except ZeroDivisionError:
        pass
    asked_for(3, 4)
    return found | {"small_after": asked_for(20, 4), "large_after": asked_for(10, 48)}

print(json.dumps({"done": measure(False), "failed": measure(True)}))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, int]]:
    """Pages that the system gave for tensors, by the way the context ends; each tensor is freed first."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(params=["done", "failed"])
def query(request: pytest.FixtureRequest, measured: dict[str, dict[str, int]]) -> dict[str, int]:
    return measured[request.param]


@glibc
def test_freed_memory_is_reused(query):
    assert query["large_kept"] < 0.3 * LARGE < 0.7 * LARGE < query["large_before"]


@glibc
def test_setting_ends_with_the_context(query):
    assert query["large_after"] > 0.7 * LARGE


@glibc
def test_small_tensors_cost_no_more(query):
    assert query["small_before"] < 0.5 * SMALL
    assert query["small_after"] < 0.5 * SMALL
