from fb_marketplace.storage import filesystem


def test_open_root_of_bucket_sets_timeouts_without_cache(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

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
