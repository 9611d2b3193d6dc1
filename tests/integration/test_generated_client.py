"""A Python client that openapi-python-client generates from the schema asks every operation."""

import importlib
import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

KEY = "k" * 20


@pytest.fixture(scope="module")
def address(serve_in_common, shop_in_common, tmp_path_factory):
    process = serve_in_common(
        *("--lake", shop_in_common, "--port", "0"),
        FB_API_KEYS=f"page:{KEY}",
        FB_FEEDBACK_DIR=str(tmp_path_factory.mktemp("feedback")),
    )
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    return ready.split()[-1]


@pytest.fixture(scope="module")
def schema(address):
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=10) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def generated(schema, tmp_path_factory):
    """The modules of the generated package by operation id, its models, and a client with a key."""
    folder = tmp_path_factory.mktemp("client")
    folder.joinpath("openapi.json").write_text(json.dumps(schema), "utf-8")
    # The generator knows binary responses by this type only.
    overrides = '{"content_type_overrides": {"image/jpeg": "application/octet-stream"}}'
    folder.joinpath("config.json").write_text(overrides, "utf-8")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"),
            *("--meta", "none", "--output-path", "shop_client", "--fail-on-warning"),
            *("--config", "config.json"),
        ],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("shop_client")
    finally:
        sys.path.remove(str(folder))


@pytest.mark.slow
def test_generated_client_asks_every_operation(generated, schema, address, paint):
    client = generated.AuthenticatedClient(
        address, token=KEY, auth_header_name="X-API-Key", prefix=""
    )
    models = importlib.import_module("shop_client.models")
    types = importlib.import_module("shop_client.types")

    def photo(body):
        return {
            "body": getattr(models, body)(
                types.File(io.BytesIO(paint()), "photo.jpg", "image/jpeg")
            )
        }

    calls = {
        "healthcheck": {},
        "livez": {},
        "readyz": {},
        "metrics": {},
        "describe_release": {},
        "get_product": {"product_id": "p-chair"},
        "similar_listings": {"product_id": "p-chair", "limit": 2},
        "get_image": {"image_id": "img-red"},
        "search": {"q": "red chiar in Leeds", "max_price": 80.0},
        "suggest": {"q": "red cha"},
        "search_by_photo": photo("SearchByPhotoBody"),
        "predict_category": photo("PredictCategoryBody"),
        "embed_photo": photo("EmbedPhotoBody"),
        "find_similar_photos": photo("FindSimilarPhotosBody") | {"limit": 3},
    }
    answers = {name: call(schema, client, name, arguments) for name, arguments in calls.items()}
    click = models.Click(answers["search"].search_id, answers["search"].hits[0].product_id)
    answers["record_click"] = call(schema, client, "record_click", {"body": click})

    assert answers.keys() == {
        operation["operationId"] for item in schema["paths"].values() for operation in item.values()
    }
    assert answers["search"].hits[0].title
    assert answers["search"].corrected.text == "red chair in Leeds"
    assert answers["search"].interpretation[-1].value.near == "Leeds"
    assert answers["suggest"].suggestions[0].text == "red chair"
    assert answers["search_by_photo"].hits
    assert answers["predict_category"].category == "Reds"
    assert len(answers["find_similar_photos"].hits) == 3
    assert answers["get_product"].image_ids == ["img-red"]
    assert len(answers["similar_listings"].listings) == 2
    assert answers["record_click"].recorded


def call(schema, client, name, arguments):
    """Return the parsed response of an operation, which must be a 200."""
    tag = next(
        operation["tags"][0]
        for item in schema["paths"].values()
        for operation in item.values()
        if operation["operationId"] == name
    )
    module = importlib.import_module(f"shop_client.api.{tag}.{name}")
    answer = module.sync_detailed(client=client, **arguments)
    assert answer.status_code == 200, (name, answer.content[:200])
    return answer.parsed


def test_operations_have_names_of_verbs_and_one_tag(schema):
    for item in schema["paths"].values():
        for operation in item.values():
            assert len(operation["tags"]) == 1
            assert "_get" not in operation["operationId"], "not made of path and method"
            assert operation["summary"]
    assert {tag["name"] for tag in schema["tags"]} == {
        operation["tags"][0] for item in schema["paths"].values() for operation in item.values()
    }
