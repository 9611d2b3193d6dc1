"""Runs in buckets whose store fails."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from support import fault_proxy
from support import seaweed as seaweedfs
from support.kedro_project import BIN, Place, Run

from fb_marketplace.storage.fingerprints import sha256

pytestmark = pytest.mark.stress


@pytest.fixture(scope="module")
def proxy(seaweed: seaweedfs.Seaweed) -> Iterator[fault_proxy.FaultProxy]:
    with fault_proxy.running(seaweed.endpoint) as proxy:
        yield proxy


@dataclass(frozen=True)
class Faulty:
    """A bucket with a lake of its own: as it is, and as runs find it behind the proxy."""

    direct: Place
    behind: Place
    faults: fault_proxy.Faults

    def run(self, *arguments: str) -> Run:
        before = set(self.direct.records())
        self.behind.kedro("run", "--env=test", *arguments)
        (version,) = set(self.direct.records()) - before
        return Run(self.direct, version)


@pytest.fixture
def faulty(
    bucket: Place,
    seaweed: seaweedfs.Seaweed,
    proxy: fault_proxy.FaultProxy,
    request: pytest.FixtureRequest,
) -> Iterator[Faulty]:
    direct = replace(
        bucket, lake=f"{seaweed.make_bucket(f'of-{sha256(request.node.name.encode())[:20]}')}/lake"
    )
    store = {**bucket.store, "AWS_ENDPOINT_URL_S3": proxy.endpoint}
    yield Faulty(direct, replace(direct, store=store), proxy.faults)
    proxy.faults.begin(0)


def test_cleaning_at_10_percent_faults_gives_same_content(whole_run: Run, faulty: Faulty) -> None:
    faulty.faults.begin(0.1, seed=1)

    run = faulty.run("--pipeline=cleaning")

    assert run.json("cleaning_report") == whole_run.json("cleaning_report")
    assert {"slow_down", "internal_error", "reset", "short"} <= set(faulty.faults.injected)
    assert faulty.faults.injected.total() > 0.05 * faulty.faults.requests


@pytest.mark.parametrize("fault", ["slow_down", "hung"])
def test_permanent_store_failure_stops_run_within_a_minute(faulty: Faulty, fault: str) -> None:
    faulty.faults.begin(1, {fault: 1})
    started = time.monotonic()

    done = subprocess.run(
        [str(BIN / "kedro"), "run", "--env=test"],
        cwd=faulty.behind.clone,
        env=faulty.behind.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    seconds = time.monotonic() - started
    message = done.stderr.strip().splitlines()
    assert done.returncode != 0
    assert seconds < 60
    assert [line for line in message if line.startswith("Error: ")] == message[-1:]
    assert "Traceback" not in done.stderr
    assert faulty.direct.files.find(faulty.direct.lake) == []


def test_full_run_at_10_percent_faults_gives_same_content(whole_run: Run, faulty: Faulty) -> None:
    faulty.faults.begin(0.1, seed=2)

    run = faulty.run()

    assert run.json("cleaning_report") == whole_run.json("cleaning_report")
    digests = [item.json("embeddings_report")["digest"] for item in (run, whole_run)]
    assert digests[0] == digests[1]
    pointer = json.loads(faulty.direct.files.cat_file(run.place.lake_path("releases/current.json")))
    assert pointer["version"] == run.version
    assert faulty.faults.injected.total() > 0.05 * faulty.faults.requests
