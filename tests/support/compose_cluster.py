"""The services of the compose files as processes on machines of their own. Run as a script."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from support.kedro_project import BIN, PROJECT, Place
from support.machines import Network, wait
from support.seaweed import ACCESS_KEY, READER_KEY, READER_SECRET_KEY, SECRET_KEY, Seaweed

FILES = ("docker-compose.yml", "serving/deploy/ray/docker-compose.yml")
VARIABLES = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "READER_ACCESS_KEY_ID": READER_KEY,
    "READER_SECRET_ACCESS_KEY": READER_SECRET_KEY,
    "RAY_AUTH_TOKEN": "0123456789" * 4,
    "FB_RAW": "s3://raw",
    "FB_WORKER_CPUS": "1",
}
IMAGE = dict(
    re.findall(
        r"\b((?:RAY|FB_HOST|FB_PORT)\w*)=([^\s\\]+)", (PROJECT / "Dockerfile").read_text("utf-8")
    )
)
"""Variables of the image."""


SUBMIT = ("ray", "job", "submit", "--", "env", "-C", "/app")
RUN = (
    *("kedro", "run", "--env=ray"),
    "--params=cleaning.photos.photos_per_batch=8,cleaning.photos.processes=0",
)
"""Shards of a few photos: the sample would be one."""

DIGESTS = ("content_digests", "embeddings_report", "texts_report")
WORKING = "ray::_run"

FILL = """
import os, ray, sys, time
def fill():
    return [ray.put(bytes(30_000_000)) for _ in range(40)]
ray.init()
task = ray.remote(fill).options(num_cpus=0, scheduling_strategy="SPREAD")
references = [task.remote() for _ in range(3)]
ray.get(references)
open(sys.argv[1], "w").close()
time.sleep(900)
"""
"""Keeps 1.2 GB on each machine, more than its object store."""


class Services:
    """The services of both files, and the machines that they run on."""

    def __init__(self, network: Network, workers: Path, clone: Path) -> None:
        texts = [(PROJECT / name).read_text("utf-8") for name in FILES]
        self._services: dict[str, Any] = {}
        for text in texts:
            self._services |= yaml.safe_load(_interpolate(text))["services"]
        self.network, self._clone = network, clone
        bin_folder = network.folder / "bin"
        bin_folder.mkdir()
        # The image's driver has Ray and the project; its workers have neither the project nor PYTHONPATH.
        kedro = bin_folder / "kedro"
        path = os.environ["PYTHONPATH"]
        kedro.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {BIN}/kedro "$@"\n')
        kedro.chmod(0o755)
        folders = (bin_folder, workers.parent, BIN, "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        self._path = os.pathsep.join(map(str, folders))
        for name, service in self._services.items():
            if "profiles" not in service:
                for number in range(service.get("scale", 1)):
                    network.add(f"{name}{number + 1}" if "scale" in service else name)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        return (
            IMAGE
            | self._services[name]["environment"]
            | {
                "PATH": self._path,
                "HOME": str(self.network.folder),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DO_NOT_TRACK": "1",
            }
        )

    def start(self, name: str, machine: str = "", default: str = "") -> None:
        """Start a service on its machine."""
        service, machine = self._services[name], machine or name
        words = service.get("entrypoint", []) + service.get("command", default.split())
        folder = self.network.folder / machine
        words = [word.replace("/data", f"{folder}/data") for word in words]
        words = [word.replace("/tmp/s3.json", f"{folder}/s3.json") for word in words]
        (folder / "data").mkdir(exist_ok=True)
        if service.get("restart") == "on-failure":
            words = ["sh", "-c", 'until "$@"; do sleep 1; done', "sh", *words]
        environment = self.environment(name)
        if "FB_CACHE_DIR" in environment:
            environment["FB_CACHE_DIR"] = str(folder)
        self.network.start(machine, words, environment, self._clone)

    def is_healthy(self, name: str) -> bool:
        """Return whether the health check of a service succeeds."""
        kind, *words = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.spawn(name, *words).wait() == 0

    def spawn(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command in the container of a service."""
        words = tuple(str(self._clone) if word == "/app" else word for word in words)
        return self.network.start(name, [*words], self.environment(name), self._clone)


def _interpolate(text: str) -> str:
    """Fill in variables as compose does."""

    def value(match: re.Match[str]) -> str:
        name, operator, default = match.groups()
        assert name in VARIABLES or operator == "-", f"{name} has neither value nor default"
        return VARIABLES.get(name, default)

    return re.sub(r"(?<!\$)\$\{(\w+):([-?])([^}]*)\}", value, text).replace("$$", "$")


class Faults:
    """Cleans the sample into a lake of its own for each fault.

    Each function causes a fault while workers read photos.
    """

    def __init__(self, services: Services, place: Place) -> None:
        self._services, self._network, self._place = services, services.network, place

    def report(self, name: str) -> dict[str, Any]:
        """Return the digests of a run with a fault, and the number of runs that it took."""
        lake = f"s3://lake/{name}"
        words = [*SUBMIT, f"FB_LAKE={lake}", *RUN, "--pipeline=cleaning"]
        prepare, fault = getattr(self, f"prepare_{name}", None), getattr(self, name)
        if prepare:
            prepare()
        started = time.monotonic()
        run = self._services.spawn("head", *words)
        wait(lambda: self._network.processes("worker1", WORKING), lambda: self._network.log("head"))
        fault()
        runs = 1
        while run.wait() != 0:
            assert runs < 2, self._network.log("head")
            wait(lambda: self._services.is_healthy("head"), lambda: self._network.log("head"))
            run, runs = self._services.spawn("head", *words), runs + 1
        seconds = time.monotonic() - started
        place = replace(self._place, lake=lake)
        (version,) = place.records()
        digests = place.json("content_digests", version)
        rows, keys = len(place.photo_table()), place.photo_table().to_table(["key"])["key"]
        return {
            "digests": digests,
            "doubled": rows - len(set(keys.to_pylist())),
            "runs": runs,
            "seconds": round(seconds),
        }

    def none(self) -> None:
        """Leave everything as it is: the time of the other runs is compared with this one."""

    def worker(self) -> None:
        """Kill a process that works."""
        self._kill("worker1", WORKING)

    def raylet(self) -> None:
        """Kill the raylet of a machine that works."""
        self._kill("worker1", "core/src/ray/raylet/raylet")

    def prepare_store(self) -> None:
        """Fill the object stores."""
        full = self._network.folder / "full"
        self._services.spawn("head", *SUBMIT, "python", "-c", FILL, str(full))
        wait(full.exists, lambda: self._network.log("head"))

    def store(self) -> None:
        """Leave the stores full."""

    def s3(self) -> None:
        """Kill the bucket's server, and start it again."""
        self._kill("s3", "-s3.config")
        time.sleep(5)
        self._services.start("s3")

    def head(self) -> None:
        """Kill everything on the head, with the driver. Its container starts again."""
        self._kill("head", "")

    def _kill(self, machine: str, command: str) -> None:
        for pid in self._network.processes(machine, command):
            if pid != self._network.machines[machine] and not _is_container(pid):
                os.kill(pid, signal.SIGKILL)


def _is_container(pid: int) -> bool:
    return b"until" in Path(f"/proc/{pid}/cmdline").read_bytes()


def main(workers: str, clone: str, raw: str, folder: str, *faults: str) -> None:
    """Run the pipelines of a clone as a job, and the server; print the digests as JSON.

    Args:
        workers: Python of the workers' environment.
        clone: folder of the project.
        raw: folder with the content of the raw bucket.
        folder: empty folder.
        faults: names of functions of ``Faults``. With any, only these are done.
    """
    network = Network(Path(folder))
    services = Services(network, Path(workers), Path(clone))
    services.start("s3")
    wait(lambda: services.is_healthy("s3"), lambda: network.log("s3"))
    store = Seaweed(f"http://{network.address('s3')}:8333", 0)
    store.make_bucket("raw")
    store.upload(Path(raw), "s3://raw")
    place = Place(Path(clone), "s3://raw", "s3://lake", store.environment)

    services.start("head")
    wait(lambda: services.is_healthy("head"), lambda: network.log("head"))
    for machine in network.machines:
        if machine.startswith("worker"):
            services.start("worker", machine)
    if faults:
        cases = Faults(services, place)
        report = {name: cases.report(name) for name in faults}
    else:
        assert services.spawn("head", *SUBMIT, *RUN).wait() == 0, network.log("head")
        services.start("server", default="fb-serve run")
        url = f"http://{network.address('server')}:8000"
        wait(lambda: _status(f"{url}/readyz") == 200, lambda: network.log("server"))
        (version,) = place.records()
        report = {name: place.json(name, version) for name in DIGESTS}
    network.check()
    sys.stdout.write(json.dumps(report) + "\n")


def _status(url: str) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as response:
            return int(response.status)
    except OSError:
        return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
