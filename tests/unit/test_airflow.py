"""The Airflow DAGs. Airflow and kedro-airflow are installed for these tests only."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
from support.kedro_project import PROJECT, clean_environment

from fb_marketplace.pipeline_registry import register_pipelines

FOLDER = PROJECT / "serving/deploy/airflow"
DAG = FOLDER / "fb_marketplace_dag.py"
UV = str(Path(sys.executable).with_name("uv"))

RAY_DAG = FOLDER / "fb_marketplace_ray_dag.py"

RUN_TASKS = """
import copy, json, runpy, sys
from datetime import datetime
from types import SimpleNamespace
dag = runpy.run_path(sys.argv[1])["dag"]
for task in dag.topological_sort():
    for attempt in sys.argv[2:]:
        context = {
            "dag_run": SimpleNamespace(run_after=datetime(2026, 1, 2, 3)),
            "ti": SimpleNamespace(try_number=int(attempt)),
        }
        rendered = copy.copy(task)
        rendered.render_template_fields(context | {"task": rendered})
        rendered.execute(context)
print(json.dumps({task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}))
"""


@pytest.fixture
def stages():
    """Stages that each stage reads, by name."""
    groups = register_pipelines()["__default__"].group_nodes_by("namespace")
    return {group.name: sorted(group.dependencies) for group in groups}


def test_dag_is_generated_from_the_pipelines():
    environment = jinja2.Environment(
        autoescape=True, lstrip_blocks=True, loader=jinja2.FileSystemLoader(FOLDER)
    )
    groups = register_pipelines()["__default__"].group_nodes_by("namespace")
    rendered = environment.get_template("dag.j2").render(
        node_objs=groups, package_name="fb_marketplace"
    )

    command = re.search(r"^kedro airflow .*$", rendered, re.MULTILINE).group()
    assert rendered == DAG.read_text("utf-8"), f"generate it again: {command}"


@pytest.mark.slow
def test_kedro_airflow_writes_the_dag(tmp_path):
    plugin = ("kedro-airflow", "python-slugify", "text-unidecode", "semver")
    install = (UV, "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "plugin"))
    subprocess.run([*install, *plugin], check=True, timeout=300)
    options = ("--group-by", "namespace", "-j", str(FOLDER / "dag.j2"), "-t", str(tmp_path))
    subprocess.run(
        [Path(sys.executable).with_name("kedro"), "airflow", "create", *options],
        cwd=PROJECT,
        env=clean_environment(PYTHONPATH=f"{os.environ.get('PYTHONPATH', '')}:{tmp_path}/plugin"),
        check=True,
        timeout=300,
    )

    assert (tmp_path / DAG.name).read_text("utf-8") == DAG.read_text("utf-8")


def run_dag(path, folder, recorded, *attempts, **variables):
    """Run the tasks of a DAG; return the tasks that each reads, and the recorded calls of commands."""
    for command in recorded:
        recorder = folder / command
        recorder.parent.mkdir(parents=True, exist_ok=True)
        recorder.write_text(f'#!/bin/sh\necho "{recorder.name} $* $FB_LAKE" >> {folder}/calls\n')
        recorder.chmod(0o755)
    printed = subprocess.run(
        [
            *(UV, "run", "--isolated", "--no-project", "--python", sys.executable),
            *("--with", "apache-airflow>=3", "--", "python", "-c", RUN_TASKS, str(path), *attempts),
        ],
        cwd=folder,
        env=clean_environment(AIRFLOW_HOME=str(folder), FB_LAKE="here", **variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    ).stdout
    return json.loads(printed.splitlines()[-1]), (folder / "calls").read_text().splitlines()


@pytest.mark.slow
def test_airflow_runs_each_stage_after_those_it_reads(tmp_path, stages):
    commands = (".venv/bin/kedro", ".venv/bin/fb-marketplace")

    upstream, (*runs, last) = run_dag(DAG, tmp_path, commands, "1", FB_PROJECT=str(tmp_path))

    assert upstream == stages | {"prune": sorted(stages)}
    assert last == "fb-marketplace prune --keep 3 --apply here"
    order = [run.removeprefix("kedro run --namespaces=").removesuffix(" here") for run in runs]
    assert sorted(order) == sorted(stages)
    assert all(set(stages[name]) <= set(order[:number]) for number, name in enumerate(order))


@pytest.mark.slow
def test_airflow_submits_one_driver_and_stops_that_of_a_lost_attempt(tmp_path):
    upstream, calls = run_dag(RAY_DAG, tmp_path, ["ray"], "1", "2", FB_RAY=str(tmp_path / "ray"))

    assert upstream == {"prune": ["run"], "run": []}
    run, prune = "kedro run --env=ray", "fb-marketplace prune --keep 3 --apply"
    assert calls == [
        f"ray job {action} here"
        for name, command in (("run", run), ("prune", prune))
        for action in (
            f"submit --submission-id={name}-20260102T030000-1 -- env -C /app {command}",
            f"stop {name}-20260102T030000-1",
            f"submit --submission-id={name}-20260102T030000-2 -- env -C /app {command}",
        )
    ]
