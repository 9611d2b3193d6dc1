"""Runs on a Ray cluster. They need Ray and an environment of workers; see docs/cluster.md."""

import json
import os
import shutil
import site
import sys
import venv
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import compose_cluster, machines, ray_cluster, ray_training, ray_work
from support.kedro_project import BIN, PROJECT, Run
from support.killed_runs import copy_lake

WORKERS = os.environ.get("RAY_WORKERS", "")

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not WORKERS or find_spec("ray") is None, reason="RAY_WORKERS or Ray is missing"
    ),
]

FAULTS = ("worker", "raylet", "s3", "store", "head")
LOST_S = 60
"""Seconds that a run with a fault may take longer than one without."""
DIGESTS = ("content_digests", "embeddings_report", "texts_report")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """The results of ``ray_work``."""
    printed = ray_cluster.beside_head(
        *(WORKERS, str(BIN / "python"), ray_work.__file__), environment=_with_tests_on_path()
    )
    return _report(printed)


def _report(printed: str) -> dict[str, Any]:
    # Ray may print messages after it.
    (line,) = [line for line in printed.splitlines() if line.startswith("{")]
    result: dict[str, Any] = json.loads(line)
    return result


def test_each_shard_has_its_result(report: dict[str, Any]) -> None:
    assert report["results"] == list(range(0, 500, 10))


def test_tasks_in_flight_are_bounded(report: dict[str, Any]) -> None:
    assert report["ahead"] <= 4


def test_task_of_killed_worker_runs_again(report: dict[str, Any]) -> None:
    assert report["killed"] == list(range(6))


def test_task_that_always_ends_its_worker_is_an_error(report: dict[str, Any]) -> None:
    assert "3 times" in report["crash"]


def test_row_that_ends_its_worker_is_rejected_alone(report: dict[str, Any]) -> None:
    """The sink also gets the rejection."""
    numbers = sorted(number for part in report["isolated"] for number in part)

    assert numbers == sorted(-number if number == 5 else number for number in range(24))
    assert all(part == sorted(part, reverse=True) for part in report["isolated"])


def test_error_of_a_task_is_raised_to_the_caller(report: dict[str, Any]) -> None:
    assert report["error"] == "division by zero"


def test_worker_opens_a_model_once(report: dict[str, Any]) -> None:
    calls: dict[int, list[int]] = {}
    for pid, count in report["calls"]:
        calls.setdefault(pid, []).append(count)

    assert all(sorted(counts) == list(range(1, len(counts) + 1)) for counts in calls.values())


def test_workers_write_large_rows_and_the_driver_commits(report: dict[str, Any]) -> None:
    assert report["rows"] == [[str(number) for number in range(8)], 4]


@pytest.mark.slow
def test_run_with_killed_workers_has_the_digests_of_a_local_run(
    whole_run: Run, tmp_path: Path
) -> None:
    conf = whole_run.place.clone / "conf"
    shutil.copytree(conf / "test", conf / "ray_test", dirs_exist_ok=True)
    shutil.copy(conf / "ray" / "compute.yml", conf / "ray_test")
    place = replace(whole_run.place, lake=str(tmp_path / "lake"))

    ray_cluster.beside_head(
        *(WORKERS, str(BIN / "kedro"), "run", "--env=ray_test"),
        "--params=cleaning.photos.photos_per_batch=8,cleaning.photos.processes=0",
        environment=place.environment | {ray_cluster.KILLS: "2"},
        cwd=place.clone,
    )

    (version,) = place.records()
    for name in DIGESTS:
        expected, actual = whole_run.json(name), place.json(name, version)
        assert actual.get("digest", actual) == expected.get("digest", expected), name


@pytest.fixture(scope="module")
def trainer_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment that has Ray and the libraries of the project, but not its code."""
    folder = tmp_path_factory.mktemp("trainers")
    venv.create(folder, symlinks=True)
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    (packages,) = folder.glob("lib/python*/site-packages")
    paths = [*site.getsitepackages(), str(Path(spec.origin).parents[1])]
    (packages / "project.pth").write_text("\n".join(paths))
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def trainings(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of ``ray_training``."""
    folder = str(tmp_path_factory.mktemp("trainings"))
    printed = ray_cluster.beside_head(
        *(WORKERS, str(BIN / "python"), ray_training.__file__, folder, trainer_python),
        environment=_with_tests_on_path(),
        seconds=2 * ray_cluster.TIMEOUT_S,
    )
    return _report(printed)


@pytest.mark.slow
def test_two_workers_are_as_accurate_as_one_process(trainings: dict[str, Any]) -> None:
    first, *_, last = zip(*trainings["one_process"], strict=True)

    assert min(last) > max(first), "nothing was learned"
    assert min(last) <= trainings["two_workers"][-1] <= max(last)


@pytest.mark.slow
def test_training_resumes_after_a_worker_is_killed(trainings: dict[str, Any]) -> None:
    assert trainings["killed_in"] == ray_training.STATE, "it was to be killed in epoch 2"
    assert trainings["after_kill"] == trainings["two_workers"]
    assert not trainings["epoch_1_trained_again"]
    assert trainings["differing"] == []


@pytest.mark.slow
def test_trials_on_workers_are_those_of_one_process(
    whole_run: Run, trainer_python: str, tmp_path: Path
) -> None:
    """Two at a time: Optuna's first ten trials do not depend on results."""
    conf = whole_run.place.clone / "conf"
    shutil.copytree(conf / "test", conf / "ray_tune", dirs_exist_ok=True)
    compute = {"engine": "ray", "ray": {"train": {"workers": 2, "python": trainer_python}}}
    (conf / "ray_tune" / "compute.yml").write_text(json.dumps(compute))
    options = ("--pipeline=tune", "--params=tune.trials=3")
    with (
        copy_lake(whole_run.place, tmp_path) as local,
        copy_lake(whole_run.place, tmp_path / "ray") as place,
    ):
        expected = local.read("tuning_trials", local.run(*options, recompute=False))
        ray_cluster.beside_head(
            *(WORKERS, str(BIN / "kedro"), "run", "--env=ray_tune", *options),
            environment=place.environment,
            cwd=place.clone,
        )
        actual = place.read("tuning_trials", max(place.records()))

    assert actual == expected


def run_services(local: Run, folder: Path, *faults: str) -> dict[str, Any]:
    """Run the pipelines on the services of the compose files; return the report of ``compose_cluster``."""
    source, clone = local.place.clone, folder / "clone"
    # The configuration of tests, as the one that the documents name.
    shutil.copytree(
        source,
        clone,
        ignore=lambda path, _: {"data", ".git"} if Path(path) == source else set(),
    )
    shutil.copytree(source / "conf" / "test", clone / "conf" / "ray", dirs_exist_ok=True)
    printed = machines.isolated(
        *(compose_cluster.__file__, WORKERS, str(clone), str(source / local.place.raw)),
        *(str(folder), *faults),
        environment=_with_tests_on_path(),
        cwd=clone,
    )
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return report


@pytest.mark.slow
def test_compose_services_run_the_pipelines_on_s3_and_serve_the_release(
    whole_run: Run, tmp_path: Path
) -> None:
    report = run_services(whole_run, tmp_path)

    for name in DIGESTS:
        expected, actual = whole_run.json(name), report[name]
        assert actual.get("digest", actual) == expected.get("digest", expected), name


@pytest.fixture(scope="module")
def fault_reports(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of each fault."""
    # The first run is slower: its processes read their libraries from the disk.
    first, *others = FAULTS
    folder = tmp_path_factory.mktemp("faults")
    reports = run_services(whole_run, folder, first, "none", *others)
    seconds = {name: report["seconds"] for name, report in reports.items()}
    sys.stdout.write(f"seconds with each fault: {seconds}\n")
    return reports


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_loses_and_doubles_nothing(
    whole_run: Run, fault_reports: dict[str, Any], fault: str
) -> None:
    report = fault_reports[fault]

    assert report["digests"] == whole_run.json("content_digests")
    assert report["doubled"] == 0
    # With the head also the driver is lost.
    assert report["runs"] == (2 if fault == "head" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_costs_at_most_a_minute(fault_reports: dict[str, Any], fault: str) -> None:
    assert fault_reports[fault]["seconds"] - fault_reports["none"]["seconds"] <= LOST_S


def _with_tests_on_path() -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(PROJECT / "tests")])
    return os.environ | {"PYTHONPATH": path}
