"""Runs that may be killed, their progress and their leftovers."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import pytest
from support.kedro_project import A_RUN, BIN, Place, Run

VERSION = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")


@dataclass(frozen=True)
class BackgroundRun:
    """A run in the background, in its own session, with all processes that it starts."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill the run and its processes at once, as a machine failure would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float = A_RUN) -> int | None:
        """Wait for the end; return the exit status, or None after a timeout."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until a condition is true; fail if the run ends first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            assert self.process.poll() is None, f"the run ended first:\n{self.log_text()[-3000:]}"
            time.sleep(0.02)
        pytest.fail(f"the condition is false after {seconds} seconds:\n{self.log_text()[-3000:]}")


@contextlib.contextmanager
def start_run(place: Place, *arguments: str) -> Iterator[BackgroundRun]:
    """Start a run in the background; kill it and its processes at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as message:
            process = subprocess.Popen(
                [str(BIN / "kedro"), "run", f"--env={place.configuration}", *arguments],
                cwd=place.clone,
                env=place.environment,
                stdin=subprocess.DEVNULL,
                stdout=message,
                stderr=message,
                start_new_session=True,
            )
        run = BackgroundRun(process, log)
        try:
            yield run
        finally:
            run.kill()


@contextlib.contextmanager
def copy_lake(place: Place, folder: Path, *left_out: str) -> Iterator[Place]:
    """Copy a lake to ``folder``, without the given names; delete the copy at the end of the block."""
    shutil.copytree(
        place.clone / place.lake,
        folder / "lake",
        ignore=shutil.ignore_patterns("01_raw", *left_out),
    )
    try:
        yield Place(place.clone, place.raw, str(folder / "lake"))
    finally:
        shutil.rmtree(folder / "lake")


def digests(run: Run) -> dict[str, str]:
    """Content digests of the outputs of a full run."""
    manifest = json_of(run.place, f"releases/{run.version}.json")
    sealed = {name: artifact["sha256"] for name, artifact in manifest["artifacts"].items()}
    cleaned: dict[str, str] = run.json("cleaning_report")["digests"]
    return cleaned | sealed | {"vectors": run.json("embeddings_report")["digest"]}


def json_of(place: Place, path: str) -> Any:
    return json.loads(place.files.cat_file(place.lake_path(path)))


def committed(lake: Path) -> dict[str, set[str]]:
    """The files of the rows that the tables of a lake have now, and those that they were merged from."""
    existing = {}
    for table in sorted(lake.glob("0*/*.lance")):
        with contextlib.suppress(ValueError):  # not one commit yet
            newest = lance.dataset(str(table))
            existing[table.name] = set(_data_files(newest))
            version = newest.version
            while _is_of_compaction(newest, version):
                version -= 1
            existing[table.name].update(_data_files(newest.checkout_version(version)))
    return existing


def stray_data(lake: Path) -> list[str]:
    """The files of rows that no version of their table names."""
    stray = []
    for table in sorted(lake.glob("0*/*.lance")):
        named = set()
        newest = lance.dataset(str(table))
        for version in newest.versions():
            opened = lance.dataset(str(table), version=version["version"])
            named.update(_data_files(opened))
        stray += [
            str(path.relative_to(lake))
            for path in sorted((table / "data").glob("*"))
            if path.name not in named
        ]
    return stray


def epochs(lake: Path) -> dict[str, tuple[int, int]]:
    """The weights of the epochs that trainings have ended, and when each was written.

    An epoch has ended once its state is there, which is written last; whose state is not is trained again.
    """
    result = {}
    for folder in lake.glob("work/*"):
        states = sorted(path.stem[-4:] for path in folder.glob("state_*.safetensors"))
        last = "9999" if (folder / "history.json").exists() else (states or [""])[-1]
        for path in folder.glob("epoch_*.safetensors"):
            if path.stem[-4:] <= last:
                stat = path.stat()
                result[str(path)] = stat.st_mtime_ns, stat.st_ino
    return result


def plain_files(lake: Path) -> set[str]:
    """The files of a lake but for those of tables, without the versions in their names."""
    return {
        VERSION.sub("version", str(path.relative_to(lake)))
        for path in lake.rglob("*")
        if path.is_file() and not any(part.endswith(".lance") for part in path.parts)
    }


def _is_of_compaction(table: lance.LanceDataset, version: int) -> bool:
    """Check whether a version merged files or reserved their numbers, which has no class in Python."""
    transaction = table.read_transaction(version)
    operation = transaction.operation if transaction else None
    return type(operation) in {lance.LanceOperation.Rewrite, lance.LanceOperation.BaseOperation}


def _data_files(table: lance.LanceDataset) -> Iterator[str]:
    for fragment in table.get_fragments():
        for file in fragment.data_files():
            yield file.path
