import asyncio
import gc
import os
import sys
import threading
import weakref

import pytest

from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import Pointer
from fb_marketplace_serving.server.release_watcher import ReleaseWatcher


class Lake:
    """A pointer and the results of opening versions."""

    def __init__(self):
        self.current = "v1"
        self.digest = None
        self.opened = []
        self.broken = {}

    def point(self):
        if isinstance(self.current, Exception):
            raise self.current
        if isinstance(self.current, threading.Event):
            self.current.wait()
            raise OSError("late")
        return Pointer(version=self.current, manifest_sha256=self.digest)

    def open(self, pointer):
        version = pointer.version
        self.opened.append(version)
        if version in self.broken:
            raise self.broken[version]
        return version


@pytest.fixture
def lake():
    return Lake()


def follow(lake, *steps, timeout=5):
    """Watch the pointer through the steps; return served and rejected versions."""
    served, refused = ["v1"], []

    async def run():
        follower = ReleaseWatcher(lake.point, lake.open, 0.001, timeout)
        task = asyncio.create_task(
            follower.watch(lambda: served[-1], served.append, refused.append)
        )
        for step in steps:
            step()
            await asyncio.sleep(0.1)
        task.cancel()
        follower.close()
        return follower

    follower = asyncio.run(run())
    return served, refused, follower


def pointing(lake, version):
    return lambda: setattr(lake, "current", version)


def test_current_release_is_not_opened_again(lake):
    served, refused, _ = follow(lake, lambda: None)

    assert (served, refused, lake.opened) == (["v1"], [], [])


def test_opening_release_is_work_with_a_priority_of_its_own(lake):
    states = []

    async def run():
        def open_release(pointer):
            thread = threading.get_native_id()
            states.append((watcher.is_opening, os.getpriority(os.PRIO_PROCESS, thread)))
            return pointer.version

        watcher = ReleaseWatcher(lake.point, open_release, 0.001, 5)
        served = ["v1"]
        lake.current = "v2"
        task = asyncio.create_task(watcher.watch(lambda: served[-1], served.append, print))
        while served == ["v1"] and not watcher.rejection:
            await asyncio.sleep(0.01)
        states.append((watcher.is_opening, None))
        task.cancel()
        watcher.close()

    asyncio.run(run())

    niceness = max(5, os.nice(0)) if sys.platform == "linux" else os.nice(0)
    assert states == [(True, niceness), (False, None)]


def test_newer_and_older_releases_are_swapped_in(lake):
    served, refused, _ = follow(lake, pointing(lake, "v2"), pointing(lake, "v1"))

    assert (served, refused) == (["v1", "v2", "v1"], [])


@pytest.mark.parametrize("error", [ReleaseError("model/encoder.onnx: not found"), MemoryError()])
def test_invalid_release_is_logged_once_and_not_served(lake, error):
    lake.broken["v2"] = error

    served, refused, follower = follow(lake, pointing(lake, "v2"))

    assert served == ["v1"]
    assert [refusal.version for refusal in refused] == ["v2"]
    assert (str(error) or "MemoryError") in follower.rejection.reason
    assert lake.opened == ["v2"]


def test_next_valid_release_after_invalid_one_is_served(lake):
    lake.broken["v2"] = ReleaseError("damaged")

    served, _, follower = follow(lake, pointing(lake, "v2"), pointing(lake, "v3"))

    assert served == ["v1", "v3"]
    assert follower.rejection is None


def test_invalid_release_is_forgotten_after_rollback(lake):
    lake.broken["v2"] = ReleaseError("damaged")

    _, _, follower = follow(lake, pointing(lake, "v2"), pointing(lake, "v1"))

    assert follower.rejection is None


def test_unreachable_lake_is_logged_once(lake):
    served, refused, follower = follow(lake, pointing(lake, OSError("no route to host")))

    assert served == ["v1"]
    assert [(item.version, "no route" in item.reason) for item in refused] == [(None, True)]
    assert follower.rejection == refused[0]


def test_stuck_pointer_is_reported_and_followed_again(lake):
    stuck = threading.Event()
    ages = []

    async def run():
        served, refused = ["v1"], []
        watcher = ReleaseWatcher(lake.point, lake.open, 0.001, timeout=0.05)
        task = asyncio.create_task(watcher.watch(lambda: served[-1], served.append, refused.append))
        await asyncio.sleep(0.05)
        ages.append(watcher.pointer_age)
        lake.current = stuck
        await asyncio.sleep(0.5)
        ages.append(watcher.pointer_age)
        threads = [item for item in threading.enumerate() if item.name.startswith("open")]
        assert len(threads) <= 5
        assert "did not answer within 0.05 s" in refused[0].reason
        lake.current = "v2"
        stuck.set()
        await asyncio.sleep(0.2)
        ages.append(watcher.pointer_age)
        task.cancel()
        watcher.close()
        return served, watcher

    served, watcher = asyncio.run(run())

    assert served == ["v1", "v2"]
    assert watcher.rejection is None
    assert ages[0] < 0.05
    assert ages[1] > 0.4
    assert ages[2] < 0.1


def test_pointer_with_another_checksum_is_opened_again(lake):
    """A release that is published again under its version, or a damaged pointer, does not go unnoticed."""
    lake.broken["v1"] = ReleaseError("found sha256 …")

    served, refused, _ = follow(lake, lambda: None, lambda: setattr(lake, "digest", "0" * 64))

    assert served == ["v1"]
    assert [refusal.version for refusal in refused] == ["v1"]


def test_rejected_release_is_freed(lake):
    class Opened(set):  # has weak references
        pass

    freed = []

    def fail(pointer):
        opened = Opened()
        weakref.finalize(opened, freed.append, pointer.version)
        raise ReleaseError("damaged")

    lake.open = fail
    gc.disable()
    try:
        follow(lake, pointing(lake, "v2"))
    finally:
        gc.enable()

    assert freed == ["v2"]
