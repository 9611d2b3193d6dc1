"""A clone, a bucket and runs, built once per session."""

import shutil
from pathlib import Path

import pytest
from support import seaweed as seaweedfs
from support.kedro_project import PROJECT, Place, Run, clean_environment, command


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it stands, as a clone of its own: commands write nothing into the checkout."""
    clone = tmp_path_factory.mktemp("clone")
    listed = command(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=PROJECT,
        environment=clean_environment(),
    )
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, clone / name)
    # Whoever runs the tests may sign commits and hook into them.
    settings = ("user.name=tests", "user.email=tests@example.org", "commit.gpgsign=false")
    git = ["git", "-c", "core.hooksPath=/dev/null"]
    git += [word for setting in settings for word in ("-c", setting)]
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "As it is")):
        command(*git, *words, cwd=clone, environment=clean_environment())
    return clone


@pytest.fixture(scope="session")
def sample(clone: Path) -> Place:
    """The embedded marketplace, drawn by the command for it, at the roots that are the defaults."""
    place = Place(clone, "data/01_raw", "data")
    place.kedro("run", "--env=test", "--pipeline=sample")
    return place


@pytest.fixture(scope="session")
def whole_run(sample: Place) -> Run:
    """The whole way, once, in local folders."""
    return Run(sample, sample.run())


@pytest.fixture(scope="session")
def bucket(clone: Path, sample: Place, seaweed: seaweedfs.Seaweed) -> Place:
    """The same marketplace, both roots in buckets."""
    raw = f"{seaweed.make_bucket('raw-bucket')}/raw"
    seaweed.upload(clone / sample.raw, raw)
    lake = f"{seaweed.make_bucket('lake-bucket')}/lake"
    return Place(clone, raw, lake, seaweed.environment)
