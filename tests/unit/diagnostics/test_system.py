"""Disk, memory and packages of the machine."""

from importlib.metadata import PackageNotFoundError

import pytest

from fb_marketplace.diagnostics import system


@pytest.fixture
def params(monkeypatch):
    """A distribution asks for these; ``here`` is installed at 1.5.0, and nothing else."""

    class Here:
        def read_text(self, name):
            return "Name: here\nVersion: 1.5.0+local\n\nVersion: 9 is in the description\n"

    def distribution(name):
        if name == "here":
            return Here()
        raise PackageNotFoundError(name)

    monkeypatch.setattr(system, "distribution", distribution)
    return lambda *values: monkeypatch.setattr(system, "requires", lambda name: list(values))


@pytest.mark.parametrize("values", ["here", "here>=1.5,<2", 'absent; extra == "dev"'])
def test_package_in_range_or_unrequired_is_compatible(params, values):
    params(values)

    assert system.incompatible_packages() == []


def test_package_out_of_range_or_missing_is_named(params):
    params("here>=2,<3", "absent>=1")

    assert system.incompatible_packages() == ["here 1.5.0+local, not <3,>=2", "absent is missing"]


def test_uninstalled_checkout_requires_nothing():
    assert system.incompatible_packages("no-such-distribution") is None


def test_requirements_of_this_project_are_installed():
    assert system.incompatible_packages() == []


def test_missing_folder_is_on_disk_of_nearest_parent(tmp_path):
    assert system.nearest_existing_folder(tmp_path / "not/there") == tmp_path
    assert system.free_disk(tmp_path / "not/there") > 0
    assert system.folder_size(tmp_path / "not/there") == 0


def test_container_memory_limit_is_used(tmp_path, monkeypatch):
    (tmp_path / "given").write_text("1000000\n")
    (tmp_path / "all").write_text("max\n")
    monkeypatch.setattr(system, "_CGROUP_LIMITS", (tmp_path / "all", tmp_path / "none"))
    complete = system.memory_limit()
    monkeypatch.setattr(system, "_CGROUP_LIMITS", (tmp_path / "given",))

    assert complete is None or complete > 1_000_000
    assert system.memory_limit() == 1_000_000
