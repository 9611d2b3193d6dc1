import pytest

from fb_marketplace.storage import filesystem as storage

AWS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture
def environment(monkeypatch):
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_lance_needs_no_options_on_disk(environment):
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")

    assert storage.lance_options("/data/images.lance") is None


def test_lance_is_told_of_a_plain_endpoint_and_that_it_may_use_it(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://other")
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:8333")
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-2")

    options = storage.lance_options("s3://lake/images.lance")

    assert options["aws_endpoint"] == "http://127.0.0.1:8333"
    assert options["allow_http"] == "true"
    assert options["aws_region"] == "eu-west-2"


def test_lance_may_use_no_plain_endpoint_that_nobody_named(environment):
    environment.setenv("AWS_ENDPOINT_URL", "https://s3.example")

    assert storage.lance_options("s3://lake/a.lance")["allow_http"] == "false"
    environment.delenv("AWS_ENDPOINT_URL")
    assert not {"aws_endpoint", "allow_http"} & storage.lance_options("s3://lake/a.lance").keys()


def test_lance_gives_up_on_a_dead_store(environment):
    told = storage.lance_options("s3://lake/a.lance")

    assert {"connect_timeout", "read_timeout", "client_retry_timeout"} <= told.keys()


def test_a_filesystem_on_s3_has_our_timeouts_and_caches_no_listing(environment):
    environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    filesystem, root = storage.open_root("s3://lake/runs/")

    assert root == "lake/runs"
    assert filesystem.config_kwargs["connect_timeout"] <= 10
    assert filesystem.config_kwargs["retries"]["total_max_attempts"] == 1
    assert not filesystem.dircache.use_listings_cache


@pytest.mark.parametrize(
    ("url", "local"),
    [("data", True), ("/data", True), ("file:///data", True), ("s3://data", False)],
)
def test_a_folder_of_this_machine_is_told_from_a_bucket(url, local):
    assert storage.is_local(url) is local


def test_a_folder_s_names_are_given_and_how_many_more(tmp_path):
    assert storage.names_in(str(tmp_path)) == "nothing"
    for name in "cab":
        (tmp_path / name).touch()
    assert storage.names_in(str(tmp_path), most=2) == "a, b and 1 more"
    assert storage.names_in(str(tmp_path / "no")) == "nothing that can be read"
