"""Concurrent runs in one lake, with concurrent readers."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import lance
import pytest
from support.kedro_project import Place, Run
from support.killed_runs import BackgroundRun, copy_lake, json_of, start_run

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError

IN_TURNS = "cleaning.photos.processes=1,cleaning.photos.photos_per_batch=8"
"""A commit every few photos, so that those of two runs come between each other."""


@pytest.fixture
def empty(whole_run: Run, tmp_path: Path) -> Place:
    return Place(whole_run.place.clone, whole_run.place.raw, str(tmp_path / "lake"))


@pytest.mark.stress
def test_concurrent_cleaning_runs_share_one_lake(whole_run: Run, empty: Place) -> None:
    cleaning = ("--pipeline=cleaning", f"--params={IN_TURNS}")
    for run in _together(empty, cleaning, cleaning):
        assert run.wait() == 0, run.log_text()[-3000:]

    assert len(empty.records()) == 2
    expected = whole_run.json("cleaning_report")
    for version in empty.records():
        assert empty.json("cleaning_report", version)["digests"] == expected["digests"]
        rows = _keys(empty, version)
        assert len(rows) == len(set(rows)) == sum(expected["photos"].values())


@pytest.mark.slow
def test_concurrent_releases_are_always_whole(whole_run: Run, tmp_path: Path) -> None:
    release = ("--pipeline=release", "--recompute")
    with copy_lake(whole_run.place, tmp_path, "checkpoints") as place, _Reader(place) as seen:
        before = set(place.records())
        for run in _together(place, release, release):
            # Where both look at the same instant, one is told.
            output = run.log_text().splitlines()[-1]
            assert run.wait() == 0 or "release" in output, output
        created = set(place.records()) - before

        assert created
        assert json_of(place, "releases/current.json")["version"] in created
        assert Release.open(place.lake).manifest.version in created
        assert seen, "the reader was to read"
        assert set(seen) <= {whole_run.version, *created}


@pytest.mark.stress
def test_concurrent_full_runs_both_succeed(whole_run: Run, empty: Place) -> None:
    for run in _together(empty, (), ()):
        assert run.wait() == 0, run.log_text()[-3000:]

    versions = set(empty.records())
    assert len(versions) == 2
    assert Release.open(empty.lake).manifest.version in versions
    sealed = [json_of(empty, f"releases/{version}.json")["artifacts"] for version in versions]
    digests = [{name: item["sha256"] for name, item in one.items()} for one in sealed]
    assert digests[0] == digests[1]


@pytest.mark.stress
def test_concurrent_recipes_keep_their_own_photos(whole_run: Run, empty: Place) -> None:
    """A table has rows of one recipe. Of two concurrent runs, one or both fail; a rerun fixes the table."""
    others = f"{IN_TURNS},cleaning.photos.max_pixels=5000000"
    runs = _together(
        empty,
        ("--pipeline=cleaning", f"--params={IN_TURNS}"),
        ("--pipeline=cleaning", f"--params={others}"),
    )
    for run in runs:
        status, message = run.wait(), run.log_text()
        assert status == 0 or "run" in message, message[-3000:]
        assert "Traceback" not in message
    for version in empty.records():
        assert len(_keys(empty, version)) == sum(
            empty.json("cleaning_report", version)["photos"].values()
        )

    again = empty.run("--pipeline=cleaning")

    assert (
        empty.json("cleaning_report", again)["digests"]
        == whole_run.json("cleaning_report")["digests"]
    )


def _together(place: Place, *runs: tuple[str, ...]) -> Iterator[BackgroundRun]:
    """Begin runs at once; gives them when all have ended."""
    with ExitStack() as stack:
        going = [stack.enter_context(start_run(place, *arguments)) for arguments in runs]
        for run in going:
            run.wait()
        yield from going


class _Reader:
    """Open the current release repeatedly while the block lasts and yield the versions seen."""

    def __init__(self, place: Place) -> None:
        self._lake, self._done = place.lake, threading.Event()
        self._seen: list[str] = []
        self._refused: list[str] = []
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> list[str]:
        self._thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        assert self._refused == []

    def _read(self) -> None:
        while not self._done.is_set():
            try:
                self._seen.append(Release.open(self._lake, encoder_threads=1).manifest.version)
            except ReleaseError as error:
                self._refused.append(str(error))
            self._done.wait(0.1)


def _keys(place: Place, version: str) -> list[str]:
    """The keys of the photos that a run sealed."""
    table = lance.dataset(place.lake_path("03_primary/images.lance"), version=version)
    keys: list[str] = table.to_table(columns=["key"]).column("key").to_pylist()
    return keys
