"""Digests of code, on a package in a temporary folder."""

import pytest

from fb_marketplace.runner import source_code
from fb_marketplace.runner.source_code import code_digest

FILES = {
    "__init__.py": "",
    "node.py": "from package.helpers import add\ndef run():\n    import package.late\n",
    "helpers.py": "def add(): ...\n",
    "late.py": "LATE = 1\n",
    "other.py": "OTHER = 1\n",
    "texts/__init__.py": "",
    "texts/card.py": "CARD = 1\n",
    "texts/card.md": "# Card\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(source_code, "_PACKAGES", {"package": tmp_path})
    return tmp_path


def digest(*modules):
    for cached in (code_digest, source_code._imports, source_code._data_files):
        cached.cache_clear()
    source_code._file_digest.cache_clear()
    return code_digest(*modules)


@pytest.mark.parametrize(
    ("changed", "is_dependency"),
    [("node.py", True), ("helpers.py", True), ("late.py", True), ("other.py", False)],
)
def test_digest_covers_imported_modules_only(package, changed, is_dependency):
    before = digest("package.node")
    (package / changed).write_text(f"{(package / changed).read_text()}# changed\n")

    assert (digest("package.node") != before) == is_dependency


def test_digest_covers_templates_beside_a_module(package):
    before = digest("package.texts.card.CARD")
    (package / "texts/card.md").write_text("# Model card\n")

    assert digest("package.texts.card.CARD") != before


def test_digest_ignores_modules_of_other_projects(package):
    assert digest("package.node", "numpy.linalg") == digest("package.node")
