"""The files with which the server is deployed: compose, Kubernetes, Prometheus and Grafana."""

import json
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import promql_parser
import pytest
import yaml
from starlette.testclient import TestClient

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving/deploy"
KUBERNETES = "1.33"
METRIC = re.compile(r"\b(?:fb|http|process)_[a-z_]+\b")
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


@pytest.fixture(scope="module")
def objects():
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text("utf-8")))


@pytest.fixture
def exported(release, tmp_path):
    """Names of the metrics that a server exports."""
    client = TestClient(create_app(release, Settings(feedback_dir=tmp_path)))
    client.app.state.service.metrics.count_connections(lambda: 0)  # as the command does
    client.get("/livez")
    text = client.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + end for name, kind in types.items() for end in suffixes.get(kind, ("",))}


def dashboard_queries():
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for variable, value in VARIABLES.items():
        queries = [query.replace(variable, value) for query in queries]
    return queries


def rules():
    groups = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_each_service_is_bounded_and_cannot_gain_rights(services):
    for name, service in services.items():
        assert {"mem_limit", "pids_limit"} <= service.keys(), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all("size=" in mount for mount in service["tmpfs"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    for name in ("server", "pipelines"):
        assert services[name]["read_only"], name
        assert services[name]["cap_drop"] == ["ALL"], name


def test_images_of_others_are_pinned_by_digest(services):
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    images = [service["image"] for service in services.values() if "build" not in service]

    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image) for image in [base[1], *images])


def test_server_and_pipelines_have_different_identities(services):
    server, pipelines = (services[name]["environment"] for name in ("server", "pipelines"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert server[name] != pipelines[name]

    # What the store's shell writes for them: the part of its command before the store starts.
    script = services["s3"]["command"][0].replace("$$", "$").partition("unset ")[0]
    names = re.findall(r'"\$([A-Z_]+)"', script)
    printed = subprocess.run(
        ["sh", "-euc", script.replace("> /tmp/s3.json", "")],
        env={name: name.lower() for name in names},
        capture_output=True,
        check=True,
    ).stdout
    identities = {item["name"]: item for item in json.loads(printed)["identities"]}

    assert set(identities["server"]["actions"]) == {"Read:lake", "List:lake"}
    assert identities["server"]["credentials"] == [
        {"accessKey": "reader_access_key_id", "secretKey": "reader_secret_access_key"}
    ]
    assert "Write" in identities["lake"]["actions"]


def test_kubernetes_objects_fit_their_schemas(objects):
    kinds = {item["kind"] for item in objects}
    assert kinds == {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    for item in objects:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_wrong_kubernetes_object_is_found(objects):
    broken = objects[0] | {"spec": objects[0]["spec"] | {"replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_objects_select_the_pods_of_the_deployment(objects):
    by_kind = {item["kind"]: item["spec"] for item in objects}
    pod = by_kind["Deployment"]["template"]
    labels = pod["metadata"]["labels"]

    assert by_kind["Service"]["selector"] == labels
    for kind, field in {"PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}.items():
        assert by_kind[kind][field]["matchLabels"] == labels
    grace = Settings().shutdown_grace_seconds
    assert pod["spec"]["terminationGracePeriodSeconds"] > grace + 5  # the preStop hook


@pytest.mark.parametrize("path", ["livez", "readyz"])
def test_probes_ask_existing_routes(objects, release, path):
    (container,) = objects[0]["spec"]["template"]["spec"]["containers"]
    paths = {
        container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }

    assert f"/{path}" in paths
    assert TestClient(create_app(release, Settings())).get(f"/{path}").status_code == 200


def test_autoscaler_follows_exported_metrics(objects, exported):
    (scaler,) = (item for item in objects if item["kind"] == "HorizontalPodAutoscaler")
    names = {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]}

    assert names <= exported


@pytest.mark.parametrize("query", [*dashboard_queries(), *(rule["expr"] for rule in rules())])
def test_query_parses_and_asks_for_exported_metrics(query, exported):
    promql_parser.parse(query)

    names = set(METRIC.findall(re.sub(r"\{[^}]*\}|by \([^)]*\)", "", query)))
    assert names
    assert names <= exported


def test_each_alert_says_what_to_do():
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "action"}
