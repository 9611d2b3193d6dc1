"""Files that deploy a Ray cluster: compose and KubeRay."""

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support.kedro_project import PROJECT

from fb_marketplace.compute.ray_engine import LIBRARIES

FOLDER = PROJECT / "serving/deploy/ray"
COMPOSE = (PROJECT / "docker-compose.yml", FOLDER / "docker-compose.yml")
KUBERNETES = "1.33"


def strict(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the schema of an object that may have these fields only."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


NUMBER = {"type": "integer", "minimum": 0}
GROUP = {
    "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
    "template": {"type": "object"},
}
CLUSTER = strict(
    {"headGroupSpec": strict(GROUP)},
    rayVersion={"type": "string"},
    authOptions=strict({}, mode={"enum": ["disabled", "token"]}),
    workerGroupSpecs={
        "type": "array",
        "items": strict(
            {
                "groupName": {"type": "string"},
                "minReplicas": NUMBER,
                "maxReplicas": NUMBER,
                **GROUP,
            },
            replicas=NUMBER,
        ),
    },
)
JOB = strict(
    {},
    entrypoint={"type": "string"},
    backoffLimit=NUMBER,
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=NUMBER,
    rayClusterSpec=CLUSTER,
)
SCHEMAS = {"RayCluster": CLUSTER, "RayJob": JOB}
"""The fields in use of the API ray.io/v1 of KubeRay 1.6. No package contains its schemas."""


def read_objects(name: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a file by kind."""
    objects = yaml.safe_load_all((FOLDER / f"{name}.yml").read_text("utf-8"))
    return {item["kind"]: item for item in objects}


def check(item: dict[str, Any]) -> None:
    """Check an object against its schema."""
    if item["apiVersion"] == "ray.io/v1":
        jsonschema.validate(item["spec"], SCHEMAS[item["kind"]])
        for template in pod_templates(item["spec"].get("rayClusterSpec", item["spec"])):
            metadata = {"name": "pods"}
            pods = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata}
            check(pods | {"template": template})
    else:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def pod_templates(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]


@pytest.fixture(params=["raycluster", "rayjob"])
def objects(request):
    return read_objects(request.param)


@pytest.fixture
def cluster():
    return read_objects("raycluster")["RayCluster"]["spec"]


@pytest.fixture
def services():
    """The services of both compose files; none is in both."""
    parts = [yaml.safe_load(path.read_text("utf-8"))["services"] for path in COMPOSE]
    assert not parts[0].keys() & parts[1].keys()
    return parts[0] | parts[1]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.parent.name)
def test_compose_files_fit_their_schema(path):
    schemas = files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text("utf-8"))
    content = yaml.safe_load(path.read_text("utf-8"))

    jsonschema.validate(content, schema)
    content["services"]["s3"] = {"memory_limit": "2g"}
    with pytest.raises(jsonschema.ValidationError, match="memory_limit"):
        jsonschema.validate(content, schema)


def test_members_of_the_compose_cluster_are_bounded_and_cannot_gain_rights(services):
    for name in ("head", "worker"):
        assert {"mem_limit", "pids_limit", "shm_size"} <= services[name].keys()
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["read_only"]
        assert all(port.startswith("127.0.0.1:") for port in services[name].get("ports", []))


def test_members_of_the_compose_cluster_have_the_access_of_the_pipelines(services):
    for name in ("head", "worker"):
        environment = dict(services[name]["environment"])
        assert environment.pop("RAY_API_SERVER_ADDRESS") == "http://head:8265"
        assert environment.pop("RAY_AUTH_MODE") == "token"
        assert environment.pop("RAY_AUTH_TOKEN").startswith("${RAY_AUTH_TOKEN:?")
        assert environment == services["pipelines"]["environment"]
        assert services[name]["volumes"] == services["pipelines"]["volumes"]


def test_objects_fit_their_schemas(objects):
    assert objects.keys() - {"NetworkPolicy"} <= {"RayCluster", "RayJob"}
    for item in objects.values():
        check(item)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ((), "authOption"),
        (("headGroupSpec",), "serviceTypes"),
        (("headGroupSpec", "template", "spec"), "volume"),
        (("workerGroupSpecs", 0, "template", "spec", "containers", 0), "enviroment"),
    ],
)
def test_wrong_field_is_found(cluster, path, field):
    part = cluster
    for name in path:
        part = part[name]
    part[field] = {}

    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)) as error:
        check({"apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": cluster})
    assert field in str(error.value)


def test_job_makes_the_standing_cluster(cluster):
    job = read_objects("rayjob")["RayJob"]["spec"]["rayClusterSpec"]
    labels = [template["metadata"].pop("labels") for template in pod_templates(job)]
    standing = [template["metadata"].pop("labels") for template in pod_templates(cluster)]

    assert job == cluster
    assert all(label not in standing for label in labels)


def test_files_own_their_objects():
    """Deleting the objects of one file leaves those of the other."""
    names = [
        {(kind, item["metadata"]["name"]) for kind, item in read_objects(name).items()}
        for name in ("raycluster", "rayjob")
    ]

    assert not names[0] & names[1]


def test_pods_are_selected_by_the_policy_and_cannot_gain_rights(objects):
    policy = objects.pop("NetworkPolicy")["spec"]
    ((_, item),) = objects.items()
    assert policy["ingress"][0]["from"] == [{"podSelector": policy["podSelector"]}]
    for template in pod_templates(item["spec"].get("rayClusterSpec", item["spec"])):
        (container,) = template["spec"]["containers"]
        assert template["metadata"]["labels"] == policy["podSelector"]["matchLabels"]
        assert template["spec"]["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_versions_are_those_of_the_workers_lock(cluster):
    lock = (PROJECT / "ray.lock").read_text("utf-8")
    versions = dict(re.findall(r"^(\S+)==(\S+) ", lock, re.MULTILINE))

    assert cluster["rayVersion"] == versions["ray"]
    assert {"aiohttp-cors", "opencensus"} <= versions.keys()  # the dashboard: it takes jobs
    assert set(LIBRARIES) <= versions.keys()


def test_job_runs_in_the_project_of_the_image_with_an_existing_configuration():
    entrypoint = read_objects("rayjob")["RayJob"]["spec"]["entrypoint"]
    folder, environment = re.fullmatch(r"env -C (\S+) kedro run --env=(\S+)", entrypoint).groups()

    assert f"WORKDIR {folder}\n" in (PROJECT / "Dockerfile").read_text("utf-8")
    assert (PROJECT / "conf" / environment).is_dir()
