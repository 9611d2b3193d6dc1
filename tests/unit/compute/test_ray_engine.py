import pytest

from fb_marketplace.compute import ray_engine
from fb_marketplace.compute.ray_engine import RayEngine
from fb_marketplace.errors import UserError

OPTIONS = {"shards_per_core": 2, "memory_per_task": 0, "max_retries": 0}


@pytest.mark.parametrize(
    ("spec", "address", "expected"),
    [(None, "10.0.0.1:6379", "ray==2.60.0"), ("ray", "", "RAY_ADDRESS")],
)
def test_missing_requirement_is_named(monkeypatch, spec, address, expected):
    monkeypatch.setattr(ray_engine, "find_spec", lambda _: spec)
    monkeypatch.setenv("RAY_ADDRESS", address)

    with pytest.raises(UserError, match=expected):
        RayEngine(**OPTIONS)


def test_worker_with_other_libraries_is_rejected():
    here = ray_engine._versions()
    work = ray_engine._Work(str, None, here | {"pillow": "1.0"})

    ray_engine._Work(str, None, here).check_versions()
    with pytest.raises(UserError, match="pillow"):
        work.check_versions()
