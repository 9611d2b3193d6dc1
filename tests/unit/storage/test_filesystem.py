import pytest

from fb_marketplace.storage import filesystem

AWS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture
def environment(monkeypatch):
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_lance_options_of_local_folder_are_none(environment):
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")

    assert filesystem.lance_options("/data/images.lance") is None


def test_lance_options_of_http_endpoint_allow_http(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://other")
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-2")

    options = filesystem.lance_options("s3://lake/images.lance")

    assert options["aws_endpoint"] == "http://127.0.0.1:8333"
    assert options["allow_http"] == "true"
    assert options["aws_region"] == "eu-west-2"


def test_lance_options_by_default_require_https(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://s3.example")

    assert filesystem.lance_options("s3://lake/a.lance")["allow_http"] == "false"
    environment.delenv("AWS_ENDPOINT_URL")
    assert not {"aws_endpoint", "allow_http"} & filesystem.lance_options("s3://lake/a.lance").keys()


def test_lance_options_bound_time(environment):
    options = filesystem.lance_options("s3://lake/a.lance")

    assert {"connect_timeout", "read_timeout", "client_retry_timeout"} <= options.keys()


def test_open_root_of_bucket_sets_timeouts_without_cache(environment):
    environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    opened, root = filesystem.open_root("s3://lake/runs/")

    assert root == "lake/runs"
    assert opened.config_kwargs["connect_timeout"] <= 10
    assert opened.config_kwargs["retries"]["total_max_attempts"] == 1
    assert not opened.dircache.use_listings_cache


def test_list_names_over_limit_counts_the_rest(tmp_path):
    assert filesystem.list_names(str(tmp_path)) == "nothing"
    for name in "cab":
        (tmp_path / name).touch()
    assert filesystem.list_names(str(tmp_path), limit=2) == "a, b and 1 more"
    assert filesystem.list_names(str(tmp_path / "no")) == "nothing that can be read"
