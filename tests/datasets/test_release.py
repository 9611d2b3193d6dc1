"""Releases of two photos, whose encoder knows a photo by its mean colour."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.release import ReleaseDataset
from fb_marketplace.pipelines.release.sealing import make_listings
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.listings import Listing
from fb_marketplace_serving.manifest import Canary, Manifest, artifact_of


@pytest.fixture
def manifest(tmp_path, colour_encoder, draw_photo):
    jpegs = [photos.canonical(draw_photo(seed)) for seed in range(2)]
    encoder = Encoder.from_bytes(colour_encoder, threads=1)
    encoding = encoder.encode(np.stack([photos.pixels(jpeg) for jpeg in jpegs]))
    index, ids = Index.build_flat(encoding.embeddings, ["a", "b"], ["p", "p"]).to_bytes()
    listing = Listing("p", "Oak table", 45.0, "GBP", "Home", "Home / Tables", "Leeds", None)
    listings = make_listings(pd.DataFrame([listing]))
    made = {"encoder": colour_encoder, "index": index, "ids": ids, "listings": listings}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    return Manifest(
        version="unpublished",
        created="2026-01-01T00:00:00+00:00",
        code_revision="abc",
        data_digest="d",
        artifacts={name: artifact_of(str(tmp_path), name) for name in made},
        labels=("Arts", "Home", "Sport"),
        photos_version=photos.VERSION,
        embedding_dimension=3,
        counts={"photos": 2},
        metrics={},
        canaries=(
            Canary(
                image_id="a",
                photo=base64.b64encode(jpegs[0]).decode(),
                probabilities=encoding.probabilities[0].tolist(),
                embedding=encoding.embeddings[0].tolist(),
                neighbours=["a", "b"],
            ),
        ),
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [({"labels": ("Home",)}, "1 labels"), ({"embedding_dimension": 4}, "embeddings of 4 numbers")],
)
def test_what_a_server_would_refuse_is_not_published(tmp_path, manifest, first, values, told):
    with pytest.raises(DatasetError, match=told):
        ReleaseDataset(str(tmp_path), first).save(manifest.model_copy(update=values))
    assert not (tmp_path / "releases").exists()


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
