"""The OpenAPI schema, compared with a real server by schemathesis."""

import io
import json
import re
from collections import Counter

import httpx
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import just
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

pytestmark = pytest.mark.slow

KEY = "k" * 20
PROBLEM = "application/problem+json"
FORM = "multipart/form-data"
EXAMPLES = 20
"""Of each operation, of what it should take and of what it should not."""

CHAINS = 15

load_all_checks()
# Bytes that are no photo, and categories that no listing has, are of the right form, and refused.
NOT_CHECKED = [CHECKS.get_one("positive_data_acceptance")]
# A body or a key that is put in place of the one that was drawn is taken for one that is wrong.
NOT_CHECKED_WHERE_REPLACED = [*NOT_CHECKED, CHECKS.get_one("negative_data_rejection")]


@pytest.fixture(scope="module", params=["open", "keys"])
def api(request, serve_in_common, shop_in_common, tmp_path_factory):
    """The address of a server, and the headers that it wants."""
    keys = {"FB_API_KEYS": f"page:{KEY}"} if request.param == "keys" else {}
    keys |= {"FB_FEEDBACK_DIR": str(tmp_path_factory.mktemp("feedback"))}
    process = serve_in_common("--lake", shop_in_common, "--port", "0", FB_LOG_LEVEL="error", **keys)
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    return ready.split()[-1], {"X-API-Key": KEY} if request.param == "keys" else {}


@pytest.fixture(scope="module")
def photo():
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), (220, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def ask_all(api, mode, photo=None):
    """Ask each operation that can be asked so; gives the statuses that each answered with.

    With a photo, only those that take one are asked, and it is sent whatever else is drawn.
    """
    address, headers = api
    reached: dict[str, set[int]] = {}
    for result in schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations():
        operation = result.ok()
        if photo and FORM not in {body.media_type for body in operation.body}:
            continue
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # There is nothing that could be wrong: any text may be an id.

        statuses = reached.setdefault(operation.label, set())

        @seed(20_260_301)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), statuses=just(statuses))
        def ask(case, statuses):
            if photo:
                case.body, case.media_type = {"image": photo}, FORM
            answer = case.call(base_url=address, headers=headers)
            statuses.add(answer.status_code)
            # An empty parameter is one that is not given.
            is_empty = "" in (case.query or {}).values()
            is_replaced = photo or headers or is_empty
            not_checked = NOT_CHECKED_WHERE_REPLACED if is_replaced else NOT_CHECKED
            case.validate_response(answer, headers=headers, excluded_checks=not_checked)

        ask()
    return reached


def test_every_response_is_documented(api):
    reached = ask_all(api, GenerationMode.POSITIVE)

    assert len(reached) == 15
    for label, statuses in reached.items():
        # Drawn ids, and clicks on listings of drawn ids, are of none.
        assert statuses & ({404} if "_id}" in label or "clicks" in label else {200}), label


def test_every_error_response_is_documented(api):
    reached = ask_all(api, GenerationMode.NEGATIVE)

    assert len(reached) == 9
    # Where all that was wrong is the key, the right one is sent instead, and the photo is taken.
    assert all(statuses <= {200, 400, 401, 404, 413, 415, 422} for statuses in reached.values())
    assert all(statuses & {400, 422} for statuses in reached.values())


def test_every_response_to_a_photo_is_documented(api, photo):
    reached = ask_all(api, GenerationMode.POSITIVE, photo)

    assert len(reached) == 4
    assert all(200 in statuses for statuses in reached.values())
    assert reached["POST /predict/similar_images"] <= {200, 422}
    assert reached["POST /search"] <= {200, 422}


def test_existing_resources_match_their_schema(api):
    address, headers = api
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    for path, expected in (
        ("/products/{product_id}", "p-chair"),
        ("/images/{image_id}", "img-red"),
    ):
        case = schema[path]["GET"].Case(path_parameters={path.split("{")[1][:-1]: expected})
        answer = case.call(base_url=address, headers=headers)
        case.validate_response(answer, headers=headers)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": "red chair", "explain": "true", "near": "Leeds"},
        {
            "q": "oak",
            "category": "Home & Garden",
            "sort": "distance",
            "near": "York",
            "diversity": "1",
        },
    ],
)
def test_search_results_match_their_schema(api, photo, query):
    address, headers = api
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    for method, more in (("GET", {}), ("POST", {"body": {"image": photo}, "media_type": FORM})):
        case = schema["/search"][method].Case(query=query, **more)
        answer = case.call(base_url=address, headers=headers)
        case.validate_response(answer, headers=headers)
        assert answer.status_code == 200
        assert answer.json()["hits"]


def test_chains_of_requests_are_documented(api):
    address, headers = api
    followed = Counter()

    class Chains(schemathesis.openapi.from_url(f"{address}/openapi.json").as_state_machine()):
        def before_call(self, case):
            if case.operation.label == "GET /search":  # Drawn words find nothing.
                case.query = {**case.query, "q": "red chair", "explain": "false"}

        def get_call_kwargs(self, case):
            return {"base_url": address, "headers": headers}

        def validate_response(self, response, case, **_):
            followed[case.operation.label, response.status_code] += 1
            checks = {"headers": headers, "excluded_checks": NOT_CHECKED_WHERE_REPLACED}
            case.validate_response(response, **checks)

    run_state_machine_as_test(
        Chains,
        settings=settings(
            max_examples=CHAINS,
            stateful_step_count=6,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    # They reach listings and searches that exist.
    assert followed["GET /products/{product_id}", 200]
    assert followed["POST /clicks", 200]


def test_unknown_method_gives_problem_json(api):
    address, headers = api
    for method, path in (("GET", "/predict/image"), ("POST", "/release"), ("PUT", "/products/a")):
        answer = httpx.request(method, f"{address}{path}", headers=headers)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == PROBLEM
        assert answer.headers["allow"]


@pytest.fixture
def documents(release):
    """Of a server without keys, and of one with them."""
    keys = Settings(api_keys=f"page:{KEY}")
    return [
        TestClient(create_app(release, output)).get("/openapi.json").json()
        for output in (Settings(), keys)
    ]


def operations(document):
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_error_is_documented_with_an_example(documents):
    for document in documents:
        assert "HTTPValidationError" not in document["components"]["schemas"]
        for label, operation in operations(document):
            for status, response in operation["responses"].items():
                if status in {"200", "304"}:
                    continue
                assert list(response["content"]) == [PROBLEM], (label, status)
                example = response["content"][PROBLEM]["example"]
                assert example["status"] == int(status), (label, status)
                assert example.keys() == {"type", "title", "status", "detail"}
                if status in {"429", "503"}:
                    assert "Retry-After" in response["headers"]


def test_every_json_response_has_an_example(documents):
    for document in documents:
        schemas = document["components"]["schemas"]
        for label, operation in operations(document):
            content = operation["responses"]["200"].get("content")
            assert content, label
            if "application/json" in content:
                name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert "example" in schemas[name], name


def test_openapi_every_reference_resolves(documents):
    for document in documents:
        names = re.findall('"#/components/schemas/([^"]+)"', json.dumps(document))
        assert "ProblemDetails" in names
        assert set(names) <= document["components"]["schemas"].keys()


def test_key_is_documented_only_if_configured(documents):
    open_, closed = documents

    assert not any("security" in operation for _, operation in operations(open_))
    assert not any("401" in operation["responses"] for _, operation in operations(open_))
    asking = {label for label, operation in operations(closed) if "security" in operation}
    assert asking == {label for label, _ in operations(closed)} - {
        "GET /healthcheck",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }
    for label, operation in operations(closed):
        assert ("401" in operation["responses"]) == (label in asking)


def test_upload_is_documented_with_its_errors(documents):
    for label, operation in operations(documents[1]):
        if FORM in operation.get("requestBody", {}).get("content", {}):
            assert operation["responses"].keys() == {
                # 404: of a release without the part that answers.
                *("200", "400", "401", "404", "408", "413", "415", "422", "429", "503"),
            }, label
