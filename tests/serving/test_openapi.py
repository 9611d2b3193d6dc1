"""What the API says of itself, held against what it does: schemathesis asks a server as it runs."""

import io
import json

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks

KEY = "k" * 20
PROBLEM = "application/problem+json"
EXAMPLES = 4
"""Of each operation, of what it should take and of what it should not."""

load_all_checks()


@pytest.fixture(params=["open", "keys"])
def asked(request, serve, lake):
    """The address of a server, and the headers that it wants."""
    keys = {"FB_API_KEYS": f"page:{KEY}"} if request.param == "keys" else {}
    process = serve("--lake", lake, "--port", "0", FB_LOG_LEVEL="error", **keys)
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    return ready.split()[-1], {"X-API-Key": KEY} if keys else {}


@pytest.fixture
def document(release):
    from fb_marketplace_serving.api import create_app
    from fb_marketplace_serving.settings import Settings

    return create_app(release, Settings()).openapi()


def photo():
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), (220, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_is_asked_the_answer_is_one_that_is_documented(asked, mode):
    address, headers = asked
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    reached, failures = set(), {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @seed(20_260_301)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case, label=operation.label):
            response = case.call(base_url=address, headers=headers)
            reached.add((label, response.status_code))
            case.validate_response(response, headers=headers)

        try:
            ask()
        except Exception as error:
            failures[operation.label] = "".join(str(e) for e in getattr(error, "exceptions", [error]))

    assert failures == {}
    print(sorted(reached))
