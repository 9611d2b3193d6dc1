import subprocess
from importlib.metadata import version

import pytest

from fb_marketplace.observability import versions


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Another project's checkout, with a copy of the module that is not of it; gives its git."""
    copy = tmp_path / ".venv/site-packages/fb_marketplace/provenance.py"
    copy.parent.mkdir(parents=True)
    copy.write_text("# a copy")
    monkeypatch.setattr(versions, "__file__", str(copy))

    def git(*words):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=theirs")
    return git


def test_package_in_foreign_checkout_uses_version(repository):
    assert versions.code_revision() == version("fb-marketplace")


def test_package_in_own_checkout_uses_commit(repository):
    repository("add", "--force", ".")
    repository("commit", "--quiet", "--message=ours")

    assert versions.code_revision() == repository("rev-parse", "--short=12", "HEAD")


def test_uncommitted_change_is_marked(repository, tmp_path):
    repository("add", "--force", ".")
    repository("commit", "--quiet", "--message=ours")
    (tmp_path / ".venv/site-packages/fb_marketplace/provenance.py").write_text("# changed")

    assert versions.code_revision() == repository("rev-parse", "--short=12", "HEAD") + "+"


def test_package_outside_git_uses_version(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "provenance.py"))

    assert versions.code_revision() == version("fb-marketplace")
