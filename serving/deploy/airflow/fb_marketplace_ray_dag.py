"""Nightly run on a Ray cluster in Airflow 3: one driver, which runs on the cluster's head.

The workers need Ray's command (FB_RAY: its path), RAY_ADDRESS (http://HEAD:8265), RAY_AUTH_MODE=token and
RAY_AUTH_TOKEN in their environment. FB_RAW, FB_LAKE and credentials are those of the head.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

RAY = os.environ.get("FB_RAY", "/opt/workers/bin/ray")

SUBMIT = """
job={{ task.task_id }}-{{ dag_run.run_after | ts_nodash }}
# The driver of a lost attempt may still run.
[ {{ ti.try_number }} = 1 ] || $RAY job stop $job-$(({{ ti.try_number }} - 1)) || true
$RAY job submit --submission-id=$job-{{ ti.try_number }} -- env -C /app """

with DAG(
    dag_id="fb_marketplace_ray",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 1,  # a second driver continues with the rows that are missing
        "retry_delay": timedelta(minutes=5),
        "env": {"RAY": RAY},
        "append_env": True,
    },
) as dag:
    run = BashOperator(task_id="run", bash_command=SUBMIT + "kedro run --env=ray")
    prune = BashOperator(
        task_id="prune", bash_command=SUBMIT + "fb-marketplace prune --keep 3 --apply"
    )
    prune.set_upstream(run)
