"""Releases of two photos with a mean-color encoder."""

import base64
import re
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.release import ReleaseDataset
from fb_marketplace.pipelines.listings.listing_features import build_listing_cards
from fb_marketplace.pipelines.release.pack_photos import pack_photos, write_photo_files
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION
from fb_marketplace_serving.release.descriptions import write_descriptions
from fb_marketplace_serving.release.manifest import (
    Abstention,
    Canary,
    Manifest,
    PhotoArtifact,
    artifact_of,
)
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import load_pointer
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def manifest(tmp_path, colour_encoder, draw_photo, store_photos):
    drawn = {name: draw_photo(seed) for seed, name in enumerate("ab")}
    jpegs = [canonical.canonicalize(item) for item in drawn.values()]
    images = store_photos(drawn)
    encoder = Encoder.from_bytes(colour_encoder, threads=1)
    encoding = encoder.encode(np.stack([canonical.decode_canonical(jpeg) for jpeg in jpegs]))
    index, ids = Index.build_flat(encoding.embeddings, ["a", "b"], ["p", "p"]).to_bytes()
    listing = Listing("p", "Oak table", 45.0, "GBP", "Home", "Home / Tables", "Leeds", None)
    listings = build_listing_cards(pd.DataFrame([listing]))
    built = {
        "encoder": colour_encoder,
        "image_index": index,
        "image_index_ids": ids,
        "listings": listings,
        "descriptions": write_descriptions(["p"], ["Solid oak."]),
        "release_photos": pack_photos(images),
        "release_display_photos": pack_photos(images),
        "release_measures": b"for the next gate",
    }
    for name, content in built.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / FOLDER).mkdir(parents=True)
    for file in write_photo_files(images, FileRef(str(tmp_path / "release_photos")), {}):
        (tmp_path / FOLDER / file.name).write_bytes(file.data)
    return Manifest(
        version="unpublished",
        created="2026-01-01T00:00:00+00:00",
        code_revision="abc",
        data_digest="d",
        artifacts={name: artifact_of(Lake(str(tmp_path)), name) for name in built},
        labels=("Arts", "Home", "Sport"),
        abstention=Abstention(threshold=0.7, error=0.05),
        photos_version=canonical.VERSION,
        framing_version=FRAMING_VERSION,
        embedding_dimension=3,
        counts={"photos": 2},
        metrics={},
        canaries=(
            Canary(
                image_id="a",
                photo=base64.b64encode(jpegs[0]).decode(),
                probabilities=encoding.probabilities[0].tolist(),
                embedding=encoding.embeddings[0].tolist(),
                neighbors=["a", "b"],
            ),
        ),
    )


@pytest.mark.parametrize(
    ("values", "pattern"),
    [({"labels": ("Home",)}, r"\b1 labels?\b"), ({"embedding_dimension": 4}, r"\b4\b")],
)
def test_inconsistent_release_is_not_published(tmp_path, manifest, first, values, pattern):
    with pytest.raises(DatasetError, match=pattern):
        ReleaseDataset(str(tmp_path), first).save(manifest.model_copy(update=values))
    assert not (tmp_path / "releases").exists()


def end_early(data):
    return data[:-1]


def change_a_byte(data):
    return bytes([data[0] ^ 1]) + data[1:]


ARTIFACTS = list(get_args(PhotoArtifact))


@pytest.mark.parametrize(
    ("artifact", "spoil"),
    [
        *((name, spoil) for name in ARTIFACTS for spoil in (end_early, change_a_byte, None)),
        # Of a file of photos the bytes are read when a photo is asked for.
        *(("photo file", spoil) for spoil in (end_early, None)),
    ],
)
def test_incomplete_release_leaves_current_one(tmp_path, manifest, first, second, artifact, spoil):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    (photo_file,) = (tmp_path / FOLDER).iterdir()
    file = photo_file if artifact == "photo file" else tmp_path / artifact
    if spoil:
        file.write_bytes(spoil(file.read_bytes()))
    else:
        file.unlink()

    with pytest.raises(DatasetError, match=file.name):
        ReleaseDataset(str(tmp_path), second).save(manifest)

    assert load_pointer(Lake(str(tmp_path))).version == first.save
    assert not (tmp_path / f"releases/{second.save}.json").exists()


def test_save_publishes_version_of_run(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)

    current = ReleaseDataset(str(tmp_path)).load()

    assert current == manifest.model_copy(update={"version": first.save})


def test_older_release_is_loaded_by_version(tmp_path, manifest, first, second):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    ReleaseDataset(str(tmp_path), second).save(manifest)

    assert ReleaseDataset(str(tmp_path)).load().version == second.save
    assert ReleaseDataset(str(tmp_path), first).load().version == first.save


def judged_against(manifest, version):
    return manifest.model_copy(update={"metrics": {"gate": {"current_release": version}}})


def with_other_measures(tmp_path, manifest):
    (tmp_path / "others").write_bytes(b"of another run")
    others = manifest.artifacts | {"release_measures": artifact_of(Lake(str(tmp_path)), "others")}
    return manifest.model_copy(update={"artifacts": others})


def test_release_compared_with_replaced_one_is_not_published(tmp_path, manifest, first, second):
    """As of two runs at once the second is: what the first published may be better."""
    other = judged_against(with_other_measures(tmp_path, manifest), None)
    ReleaseDataset(str(tmp_path), first).save(judged_against(manifest, None))

    with pytest.raises(DatasetError, match=re.escape(first.save)):
        ReleaseDataset(str(tmp_path), second).save(other)

    assert load_pointer(Lake(str(tmp_path))).version == first.save
    assert not (tmp_path / f"releases/{second.save}.json").exists()


def test_releases_with_equal_metrics_are_both_published(tmp_path, manifest, first, second):
    for version in (first, second):
        ReleaseDataset(str(tmp_path), version).save(judged_against(manifest, None))

    assert ReleaseDataset(str(tmp_path)).load().version == second.save


@pytest.mark.parametrize("lost", [True, False])
def test_damaged_current_release_can_be_replaced(tmp_path, manifest, first, second, lost):
    other = judged_against(with_other_measures(tmp_path, manifest), None)
    ReleaseDataset(str(tmp_path), first).save(manifest)
    damaged = tmp_path / f"releases/{first.save}.json"
    damaged.unlink() if lost else damaged.write_bytes(b"{")

    ReleaseDataset(str(tmp_path), second).save(other)

    assert ReleaseDataset(str(tmp_path)).load().version == second.save


def test_release_is_never_changed(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    written = (tmp_path / f"releases/{first.save}.json").read_bytes()

    with pytest.raises(DatasetError, match=f"{first.save}.json"):
        ReleaseDataset(str(tmp_path), first).save(manifest.model_copy(update={"counts": {}}))
    assert (tmp_path / f"releases/{first.save}.json").read_bytes() == written


def test_lake_without_release_names_remedy(tmp_path):
    with pytest.raises(DatasetError, match=re.escape(str(tmp_path))):
        ReleaseDataset(str(tmp_path)).load()


def test_release_requires_a_version(tmp_path, manifest):
    with pytest.raises(DatasetError, match="versioned: true"):
        ReleaseDataset(str(tmp_path)).save(manifest)
    assert not (tmp_path / "releases").exists()


def test_pointer_contains_only_the_version(tmp_path, manifest, first):
    ReleaseDataset(str(tmp_path), first).save(manifest)

    assert load_pointer(Lake(str(tmp_path))).version == first.save


@pytest.mark.parametrize(("product", "images"), [("p", []), ("other", ["b"])])
def test_release_with_erased_content_leaves_current_one(
    tmp_path, manifest, first, second, product, images
):
    ReleaseDataset(str(tmp_path), first).save(manifest)
    add_to_erasure_list(Lake(str(tmp_path)), [product], images)

    with pytest.raises(DatasetError, match="erased"):
        ReleaseDataset(str(tmp_path), second).save(manifest)

    assert ReleaseDataset(str(tmp_path)).load().version == first.save


def test_release_without_erased_content_is_published(tmp_path, manifest, first):
    add_to_erasure_list(Lake(str(tmp_path)), ["other"], ["photo"])

    ReleaseDataset(str(tmp_path), first).save(manifest)

    assert ReleaseDataset(str(tmp_path)).load().version == first.save
