"""Whatever moment a run is killed at, a plain rerun ends as if it had not been: `make stress`.

``KILLS`` and ``SEED`` say how often, and at which moments.
"""

import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from support import seaweed as seaweedfs
from support.kedro_project import Place, Run
from support.killed_runs import committed, digests, epochs, plain_files, start_run, stray_data

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.storage.lake import Lake

pytestmark = pytest.mark.stress

KILLS = int(os.environ.get("KILLS", "30"))
SERVER_KILLS = max(1, KILLS // 6)
SEED = os.environ.get("SEED", "1")
AWAY = (0.5, 20.0)
"""Seconds that a server is gone, between these."""


@dataclass(frozen=True)
class Undisturbed:
    """A whole run that nobody killed.

    Attributes:
        digests: of all that it made.
        files: that are there once the lake was pruned.
        seconds: that it took.
    """

    digests: dict[str, str]
    files: set[str]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(sample: Place, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    place = Place(sample.clone, sample.raw, str(tmp_path_factory.mktemp("undisturbed") / "lake"))
    began = time.monotonic()
    run = Run(place, place.run())
    took = time.monotonic() - began
    created = digests(run)
    _prune(place)
    return Undisturbed(created, plain_files(Path(place.lake)), took)


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_run_resumes(
    sample: Place, undisturbed: Undisturbed, tmp_path: Path, number: int
) -> None:
    place = Place(sample.clone, sample.raw, str(tmp_path / "lake"))
    lake = Path(place.lake)
    share = random.Random(f"{SEED}/{number}").random()
    with start_run(place) as run:
        run.wait(share * undisturbed.seconds)
        run.kill()
        print(f"killed at {share:.0%}, after: {_last_node(run.log_text())}")  # noqa: T201
    rows, trained = committed(lake), epochs(lake)

    version = place.run()

    assert digests(Run(place, version)) == undisturbed.digests
    assert Release.open(place.lake).manifest.version == version
    # What was committed is not made again: at most what was in flight is, a batch a process.
    now = committed(lake)
    assert [table for table, files in rows.items() if not files <= now[table]] == []
    assert trained.items() <= epochs(lake).items()
    _prune(place)
    assert plain_files(lake) == undisturbed.files
    assert stray_data(lake) == []
    assert Release.open(place.lake).manifest.version == version


@pytest.fixture
def server() -> Iterator[seaweedfs.Mortal]:
    with seaweedfs.mortal() as server:
        yield server


@pytest.mark.parametrize("number", range(SERVER_KILLS))
def test_run_with_killed_store_resumes_or_fails_in_one_line(
    sample: Place, undisturbed: Undisturbed, server: seaweedfs.Mortal, number: int
) -> None:
    store = server.seaweed
    raw = f"{store.make_bucket('raw-bucket')}/raw"
    store.upload(sample.clone / sample.raw, raw)
    place = Place(sample.clone, raw, f"{store.make_bucket('lake-bucket')}/lake", store.environment)
    chance = random.Random(f"{SEED}/server/{number}")
    with start_run(place) as run:
        run.wait(chance.random() * undisturbed.seconds)
        server.kill()
        time.sleep(chance.uniform(*AWAY))
        server.start()
        status, message = run.wait(), run.log_text()
    print(f"ended with {status}, after: {_last_node(message)}")  # noqa: T201
    assert "Traceback" not in message, message[-3000:]
    if status != 0:
        assert message.splitlines()[-1].startswith("Error: ")

    again = Run(place, place.run())

    # Of a bucket the ETags are others than those of files, and what is told of sources with them.
    of_places = {"provenance"}
    created = digests(again)
    assert {name: created[name] for name in created.keys() - of_places} == {
        name: undisturbed.digests[name] for name in undisturbed.digests.keys() - of_places
    }


def _prune(place: Place) -> None:
    """Prune the lake to the last run and release."""
    from fb_marketplace.lifecycle.prune import prune
    from fb_marketplace.lifecycle.retention import plan_pruning

    prune(plan_pruning(Lake(place.lake), 1, timedelta(0)))


def _last_node(log: str) -> str:
    ended = re.findall(r"\[ *\d+/\d+\] (\w+)", log)
    return ended[-1] if ended else "no node"
