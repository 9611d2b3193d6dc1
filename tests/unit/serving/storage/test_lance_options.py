import pytest

from fb_marketplace_serving.storage.lance_options import lance_options

AWS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture
def environment(monkeypatch):
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_lance_options_of_local_folder_are_none(environment):
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")

    assert lance_options("/data/images.lance") is None


def test_lance_options_of_http_endpoint_allow_http(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://other")
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-2")

    options = lance_options("s3://lake/images.lance")

    assert options["aws_endpoint"] == "http://127.0.0.1:8333"
    assert options["allow_http"] == "true"
    assert options["aws_region"] == "eu-west-2"


def test_lance_options_by_default_require_https(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://s3.example")

    assert lance_options("s3://lake/a.lance")["allow_http"] == "false"
    environment.delenv("AWS_ENDPOINT_URL")
    assert not {"aws_endpoint", "allow_http"} & lance_options("s3://lake/a.lance").keys()


def test_lance_options_bound_time(environment):
    options = lance_options("s3://lake/a.lance")

    assert {"connect_timeout", "read_timeout", "client_retry_timeout"} <= options.keys()
