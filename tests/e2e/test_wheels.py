"""Both wheels and the configuration, installed without the clone."""

import io
import json
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.kedro_project import BIN, clean_environment, command

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Elsewhere:
    """Where the packages are installed, and nothing of the clone is.

    Attributes:
        bin: the installed commands.
        configuration: the archive.
        folder: where they are run.
    """

    bin: Path
    configuration: Path
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder.with_name("home")

    @property
    def environment(self) -> dict[str, str]:
        environment = clean_environment(
            FB_RAW=str(self.folder / "raw"),
            FB_LAKE=str(self.folder / "lake"),
            HOME=str(self.home),
            XDG_CONFIG_HOME=str(self.home),
            # Nobody has asked here not to be tracked, and yet whatever is sent arrives nowhere.
            https_proxy="http://127.0.0.1:9",
        )
        del environment["DO_NOT_TRACK"]
        environment.pop("PYTHONPATH", None)
        return environment

    def run(self, name: str, *arguments: str) -> str:
        return command(
            str(self.bin / name), *arguments, cwd=self.folder, environment=self.environment
        )


@pytest.fixture(scope="module")
def dist(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dist folder that `make wheels` builds in a fresh clone, offline."""
    fresh = tmp_path_factory.mktemp("wheels") / "clone"
    environment = clean_environment()
    command("git", "clone", "--quiet", str(clone), str(fresh), cwd=clone, environment=environment)
    # The environment is made already: `-o` says that it is not to be made anew.
    ready = f"{BIN.parent}/.ready"
    command(
        *("make", "-o", ready, f"VENV={BIN.parent}", "wheels"), cwd=fresh, environment=environment
    )
    changed = command("git", "status", "--porcelain", cwd=fresh, environment=environment)
    assert changed == "", "building wheels leaves files that git does not ignore"
    return fresh / "dist"


@pytest.fixture(scope="module")
def elsewhere(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    environment, python = clean_environment(), str(folder / "venv" / "bin" / "python")
    command(
        *(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")),
        cwd=folder,
        environment=environment,
    )
    wheels = [str(path) for path in dist.glob("*.whl")]
    command(
        *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"),
        *("install", "--quiet", "--no-index", "--no-deps", *wheels),
        cwd=folder,
        environment=environment,
    )
    # What they depend on comes from here; paths in a .pth file bring no .pth files of their own, so
    # the editable clone stays out.
    installed = folder / "venv" / "lib" / f"python{sysconfig.get_python_version()}/site-packages"
    (installed / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (folder / "run").mkdir()
    (archive,) = dist.glob("*.tar.gz")
    return Elsewhere(folder / "venv" / "bin", archive, folder / "run")


def test_wheels_and_configuration_are_built(dist: Path) -> None:
    names = [path.name.partition("-")[0] for path in sorted(dist.glob("*.whl"))]

    assert names == ["fb_marketplace", "fb_marketplace_serving"]


def test_wheels_include_type_marker_and_page(dist: Path) -> None:
    existing = {name for path in dist.glob("*.whl") for name in zipfile.ZipFile(path).namelist()}

    assert {
        "fb_marketplace/py.typed",
        "fb_marketplace_serving/py.typed",
        "fb_marketplace_serving/web/index.html",
    } <= existing
    assert not [name for name in existing if name.startswith(("tests", "conf", "notebooks"))]


def test_configuration_has_no_private_files(elsewhere: Elsewhere) -> None:
    with tarfile.open(fileobj=io.BytesIO(elsewhere.configuration.read_bytes())) as archive:
        names = archive.getnames()

    assert {"conf/base/globals.yml", "conf/test/globals.yml", "conf/s3/globals.yml"} <= set(names)
    assert [name for name in names if name.startswith("conf/local/") and name.endswith("yml")] == []


def test_installed_package_is_the_one_imported(elsewhere: Elsewhere) -> None:
    code = (
        "import json, fb_marketplace as a, fb_marketplace_serving as b; "
        "print(json.dumps([a.__file__, b.__file__]))"
    )

    files = json.loads(elsewhere.run("python", "-c", code))

    assert all(file.startswith(str(elsewhere.bin.parent)) for file in files)


def test_packaged_project_generates_and_cleans_sample(elsewhere: Elsewhere) -> None:
    packaged = ("run", "--env=test", f"--conf-source={elsewhere.configuration}")

    elsewhere.run("fb-marketplace", *packaged, "--pipeline=sample")
    elsewhere.run("fb-marketplace", *packaged, "--pipeline=cleaning")

    (record,) = (elsewhere.folder / "lake" / "runs").glob("*.json")
    result = json.loads(record.read_bytes())
    assert result["pipelines"] == ["cleaning"]
    assert result["code_revision"] == result["libraries"]["fb-marketplace"]
    assert sorted(path.name for path in elsewhere.folder.iterdir()) == ["lake", "raw"]
    assert not (elsewhere.home / "kedro").exists(), "Kedro-Telemetry has made an id to send"


def test_packaged_server_prints_help(elsewhere: Elsewhere) -> None:
    assert "usage: fb-serve" in elsewhere.run("fb-serve", "--help")
