import json

import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.release import ReleaseDataset
from fb_marketplace_serving.manifest import Artifact, Canary, Manifest


@pytest.fixture
def manifest():
    file = Artifact(path="06_models/some", bytes=1, sha256="0" * 64)
    return Manifest(
        version="unpublished",
        created="2026-01-01T00:00:00+00:00",
        code_revision="abc",
        data_digest="d",
        artifacts=dict.fromkeys(("encoder", "index", "ids", "listings"), file),
        labels=("Chairs",),
        photos_version=1,
        embedding_dimension=2,
        counts={"photos": 1},
        metrics={},
        canaries=(
            Canary(
                image_id="a", photo="", probabilities=[1.0], embedding=[0.0, 1.0], neighbours=["a"]
            ),
        ),
    )


def test_a_release_takes_the_run_s_version_and_is_in_force(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)

    in_force = ReleaseDataset(str(tmp_path)).load()

    assert in_force == manifest.model_copy(update={"version": first.save})


def test_the_last_release_is_in_force_and_an_older_one_is_read_by_its_version(
    tmp_path, manifest, first, second
):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    ReleaseDataset(str(tmp_path), second).save(manifest)

    assert ReleaseDataset(str(tmp_path)).load().version == second.save
    assert ReleaseDataset(str(tmp_path), first).load().version == first.save


def test_a_release_is_never_changed(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    written = (tmp_path / f"releases/{first.save}.json").read_bytes()

    with pytest.raises(DatasetError, match="never changed"):
        ReleaseDataset(str(tmp_path), first).save(manifest.model_copy(update={"counts": {}}))
    assert (tmp_path / f"releases/{first.save}.json").read_bytes() == written


def test_a_lake_without_a_release_says_how_to_make_one(tmp_path):
    with pytest.raises(DatasetError, match="has no release"):
        ReleaseDataset(str(tmp_path)).load()


def test_a_release_needs_a_version(tmp_path, manifest):
    with pytest.raises(DatasetError, match="versioned: true"):
        ReleaseDataset(str(tmp_path)).save(manifest)
    assert not (tmp_path / "releases").exists()


def test_the_pointer_names_the_version_and_nothing_else(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)

    assert json.loads((tmp_path / "releases/current.json").read_bytes()) == {"version": first.save}
