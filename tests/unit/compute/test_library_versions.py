import pytest

from fb_marketplace.compute import library_versions
from fb_marketplace.compute.library_versions import check_versions, versions_of
from fb_marketplace.errors import UserError


def test_worker_with_other_libraries_is_rejected():
    versions = versions_of(["numpy", "pillow"])

    check_versions(versions, "ray.lock")
    with pytest.raises(UserError, match=r"pillow .* instead of 1\.0.*ray\.lock"):
        check_versions(versions | {"pillow": "1.0"}, "ray.lock")


def test_library_that_only_workers_have_is_named(monkeypatch):
    monkeypatch.setattr(library_versions, "version", lambda _: "9.0")

    with pytest.raises(UserError, match=r"pip install pillow-heif==9\.0` in the driver"):
        check_versions({"pillow": "9.0", "pillow-heif": "none"}, "ray.lock")


def test_builds_of_a_version_are_equal(monkeypatch):
    monkeypatch.setattr(library_versions, "version", lambda _: "2.13.0+cu130")

    check_versions({"torch": "2.13.0"}, "torch.lock")
