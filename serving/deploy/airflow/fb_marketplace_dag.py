"""Nightly run in Airflow 3, with a task per stage. kedro-airflow generates it from the pipelines.

kedro airflow create --group-by namespace -j serving/deploy/airflow/dag.j2 -t serving/deploy/airflow

The workers need FB_PROJECT, FB_RAW and FB_LAKE, and credentials, in their environment. Each task is a
process in the project's own environment, and reuses the outputs of stages that have not changed.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

STAGES = {
    "baselines": "cleaning text",
    "cleaning": "",
    "embeddings": "cleaning vision",
    "indexing": "cleaning embeddings vision",
    "listings": "cleaning",
    "pricing": "baselines cleaning listings text vision",
    "ranking": "cleaning embeddings listings text vision",
    "release": "cleaning indexing listings pricing ranking text vision vision_evaluation",
    "text": "cleaning indexing vision",
    "vision": "cleaning",
    "vision_evaluation": "baselines cleaning embeddings vision",
}
"""Stages that each stage reads, by name."""

with DAG(
    dag_id="fb_marketplace",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # a stage uses all cores, and two runs on one lake may conflict
    default_args={
        "retries": 1,  # a killed stage resumes
        "retry_delay": timedelta(minutes=5),
        "cwd": os.environ.get("FB_PROJECT", "/opt/fb-marketplace/app"),
    },
) as dag:
    tasks = {
        name: BashOperator(task_id=name, bash_command=f".venv/bin/kedro run --namespaces={name}")
        for name in STAGES
    }
    for name, stages in STAGES.items():
        tasks[name].set_upstream([tasks[stage] for stage in stages.split()])
    prune = BashOperator(
        task_id="prune", bash_command=".venv/bin/fb-marketplace prune --keep 3 --apply"
    )
    prune.set_upstream(list(tasks.values()))
