"""Checks of search artifacts against the rest of the release."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from support.builders import small_search
from support.builders.small_market import count_words
from support.builders.tiny_text_encoder import graph, tokenizer, tower

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import (
    SEARCH_ARTIFACTS,
    Manifest,
    ReleaseError,
    TextCanary,
    artifact_of,
    manifest_path,
)
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.storage.lake import Lake


def refusal(lake):
    with pytest.raises(ReleaseError) as caught:
        Release.open(lake)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def resealed(lake, manifest, contents, **changes):
    """Publish a release in which some artifacts hold something else, sealed as they are now."""
    artifacts = dict(manifest.artifacts)
    for name, data in contents.items():
        Path(lake, artifacts[name].path).write_bytes(data)
        artifacts[name] = artifact_of(Lake(str(lake)), artifacts[name].path)
    publish(Lake(str(lake)), manifest.model_copy(update={"artifacts": artifacts} | changes))
    return str(lake)


def content(lake, manifest, name):
    return Path(lake, manifest.artifacts[name].path).read_bytes()


@pytest.mark.parametrize("change", ["overwrite", "truncate", "remove"])
def test_open_release_survives_changes_of_its_files(shop, shop_draft, change):
    release = Release.open(shop)
    product_id = release.listings.ids[0]
    rows = range(len(release.index))
    before = release.listings[product_id], release.index.vectors(np.array(rows))
    text = release.search.text_index.vectors(np.array([0]))

    for artifact in shop_draft.artifacts.values():
        file = Path(shop, artifact.path)
        if change == "remove":
            file.unlink()
        else:
            with file.open("r+b") as stream:  # in place, not as a new file
                stream.truncate(0)
                stream.write(b"x" * (artifact.bytes if change == "overwrite" else 0))

    assert release.listings[product_id] == before[0]
    assert (release.index.vectors(np.array(rows)) == before[1]).all()
    assert (release.search.text_index.vectors(np.array([0])) == text).all()
    assert release.index.search(before[1][0], 1).rows[0] == 0
    assert release.search.bm25.scores(before[0].title).any()
    assert release.descriptions.get(product_id) is not None


def test_releases_share_models_but_not_listings(shop, shop_draft):
    first = Release.open(shop)
    publish(Lake(str(shop)), shop_draft.model_copy(update={"version": "v2"}))
    second = Release.open(shop)

    assert second.manifest.version == "v2"
    assert second.encoder is first.encoder
    assert second.search.text_encoder is first.search.text_encoder
    assert second.search.ranker is first.search.ranker
    assert second.listings is not first.listings
    assert Release.open(shop, encoder_threads=2).encoder is not first.encoder


@pytest.mark.parametrize("artifact", SEARCH_ARTIFACTS)
def test_damaged_artifact_is_rejected(shop, shop_draft, artifact):
    path = shop_draft.artifacts[artifact].path
    file, complete = Path(shop, path), content(shop, shop_draft, artifact)

    for place in (0, len(complete) // 2, len(complete) - 1):
        file.write_bytes(complete[:place] + bytes([complete[place] ^ 1]) + complete[place + 1 :])
        assert f"{path}" in refusal(shop)
    for data in (complete[:-1], b"", complete + b"\0"):
        file.write_bytes(data)
        assert f"{len(data):,} bytes" in refusal(shop)
    file.unlink()
    assert f"{path}: " in refusal(shop)
    file.write_bytes(complete)
    assert Release.open(shop).search is not None


OPENED = [name for name in SEARCH_ARTIFACTS if name != "provenance"]
"""What a server opens; where listings come from is for people who ask."""


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda _: b"x" * 99]
)
@pytest.mark.parametrize("artifact", OPENED)
def test_artifact_sealed_damaged_is_named(tmp_path, shop_draft, artifact, damage):
    data = damage(content(tmp_path, shop_draft, artifact))

    lake = resealed(tmp_path, shop_draft, {artifact: data})

    assert shop_draft.artifacts[artifact].path in refusal(lake)


@pytest.fixture
def fewer(tmp_path, shop_draft):
    """The artifacts as they are of a run that knew one listing and one photo less."""
    listings = pq.read_table(tmp_path / shop_draft.artifacts["listings"].path)
    photos = {
        image: product for image, product in small_search.SHOP_PHOTOS.items() if image != "img-grey"
    }
    return small_search.make_parts(listings.slice(1), list(photos), list(photos.values()))


@pytest.fixture
def of_others(tmp_path, shop_draft):
    """The artifacts as they are of as many listings and photos of other names."""
    listings = pq.read_table(tmp_path / shop_draft.artifacts["listings"].path)
    renamed = listings.set_column(0, "product_id", [[f"{item}-x" for item in small_search.SHOP]])
    photos = {f"{image}-x": f"{product}-x" for image, product in small_search.SHOP_PHOTOS.items()}
    return small_search.make_parts(renamed, list(photos), list(photos.values()))


TOGETHER = [
    ("listing_features",),
    ("text_index", "text_index_ids"),
    ("text_to_image_index", "text_to_image_index_ids"),
    ("price_insights",),
]


@pytest.mark.parametrize("artifacts", [*TOGETHER, ("word_index",)])
def test_artifact_of_other_row_count_is_rejected(tmp_path, shop_draft, fewer, artifacts):
    lake = resealed(tmp_path, shop_draft, {name: fewer[name] for name in artifacts})

    message = refusal(lake)

    for name in artifacts:
        assert shop_draft.artifacts[name].path in message
    count = len(
        small_search.SHOP_PHOTOS if "text_to_image_index" in artifacts else small_search.SHOP
    )
    assert f"found {count - 1}" in message
    assert str(count) in message


@pytest.mark.parametrize("artifacts", TOGETHER)
def test_artifact_of_other_listings_or_photos_is_rejected(
    tmp_path, shop_draft, of_others, artifacts
):
    lake = resealed(tmp_path, shop_draft, {name: of_others[name] for name in artifacts})

    message = refusal(lake)

    for name in artifacts:
        assert shop_draft.artifacts[name].path in message


@pytest.mark.parametrize(
    ("vectors", "ids"),
    [("text_index", "text_index_ids"), ("text_to_image_index", "text_to_image_index_ids")],
)
def test_vectors_with_ids_of_other_version_are_rejected(tmp_path, shop_draft, fewer, vectors, ids):
    lake = resealed(tmp_path, shop_draft, {ids: fewer[ids]})

    message = refusal(lake)

    assert shop_draft.artifacts[vectors].path in message
    assert shop_draft.artifacts[ids].path in message


def test_text_to_image_index_in_other_order_is_rejected(tmp_path, shop_draft):
    pictures = Index.from_bytes(
        content(tmp_path, shop_draft, "text_to_image_index"),
        content(tmp_path, shop_draft, "text_to_image_index_ids"),
    )
    turned = Index.build_flat(
        pictures.vectors(np.arange(len(pictures))[::-1]),
        pictures.image_ids[::-1],
        pictures.product_ids[::-1],
    )
    data, ids = turned.to_bytes()

    lake = resealed(
        tmp_path, shop_draft, {"text_to_image_index": data, "text_to_image_index_ids": ids}
    )

    assert shop_draft.artifacts["text_to_image_index"].path in refusal(lake)


def with_other_numbers():
    """The tokenizer, by which every word is the next one."""
    values = json.loads(tokenizer())
    numbers = values["model"]["vocab"]
    values["model"]["vocab"] = {
        word: (number + 1) % len(numbers) for word, number in numbers.items()
    }
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        ({"text_tokenizer": with_other_numbers()}, "off by"),
        ({"text_encoder": graph(seed=1)}, "off by"),
        ({"text_encoder": graph(size=7)}, "dimensions of text_embedding"),
        ({"text_encoder": graph(text_to_image_size=5)}, "dimensions of text_to_image_embedding"),
        ({"text_encoder": graph(text_to_image_size=0)}, "dimensions of text_to_image_embedding"),
    ],
)  # fmt: skip
def test_text_encoder_with_other_answers_is_rejected(tmp_path, shop_draft, contents, text):
    lake = resealed(tmp_path, shop_draft, contents)

    message = refusal(lake)

    assert text in message
    assert all(shop_draft.artifacts[name].path in message for name in contents)


@pytest.mark.parametrize(
    "change",
    [
        lambda vector: [-number for number in vector],
        lambda vector: [2 * number for number in vector],
        lambda vector: vector[:-1],
    ],
)
@pytest.mark.parametrize("field", ["text_embedding", "text_to_image_embedding"])
def test_text_canary_with_other_answer_is_rejected(tmp_path, shop_draft, field, change):
    first, *others = shop_draft.text_canaries
    other = first.model_copy(update={field: change(getattr(first, field))})

    lake = resealed(tmp_path, shop_draft, {}, text_canaries=(*others, other))

    message = refusal(lake)
    assert repr(first.text) in message
    assert field in message


def test_text_canary_within_cpu_tolerance_is_accepted(tmp_path, shop_draft):
    first = shop_draft.text_canaries[0]
    near = first.model_copy(
        update={"text_embedding": [0.999 * number for number in first.text_embedding]}
    )

    assert (
        Release.open(resealed(tmp_path, shop_draft, {}, text_canaries=(near,))).search is not None
    )


def test_bm25_index_of_other_words_is_rejected(tmp_path, shop_draft, monkeypatch):
    from fb_marketplace_serving.search import tokenizer as terms

    monkeypatch.setattr(terms, "VERSION", terms.VERSION + 1)
    data = count_words(list(small_search.SHOP)).to_bytes()
    monkeypatch.undo()

    lake = resealed(tmp_path, shop_draft, {"word_index": data})

    assert shop_draft.artifacts["word_index"].path in refusal(lake)


@pytest.mark.parametrize("artifact", SEARCH_ARTIFACTS)
def test_search_artifacts_are_all_or_none(shop_draft, artifact):
    values = shop_draft.model_dump()
    one = dict(values["artifacts"])
    del one[artifact]
    with pytest.raises(ValidationError, match=rf"\b{artifact}\b"):
        Manifest.model_validate(values | {"artifacts": one})

    none = {
        name: item for name, item in values["artifacts"].items() if name not in SEARCH_ARTIFACTS
    }
    assert not Manifest.model_validate(values | {"artifacts": none}).is_searchable


def test_searchable_release_requires_text_canary(tmp_path, shop_draft):
    with pytest.raises(ValidationError, match=r"text.canaries"):
        Manifest.model_validate(shop_draft.model_dump() | {"text_canaries": ()})

    lake = resealed(tmp_path, shop_draft, {}, text_canaries=())
    assert manifest_path("v1") in refusal(lake)


@pytest.fixture
def with_tower(tmp_path, shop_draft):
    """Return a function that adds files of a dual encoder to the release."""

    def add(**contents):
        artifacts = dict(shop_draft.artifacts)
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)
            artifacts[name] = artifact_of(Lake(str(tmp_path)), name)
        encoder = TextEncoder.from_bytes(graph(), tokenizer(), *contents.values())
        text = shop_draft.text_canaries[0].text
        vectors = {
            f"{name}": vector[0].tolist()
            for name, vector in encoder.encode([text])._asdict().items()
        }
        canary = TextCanary(text=text, **vectors)
        return shop_draft.model_copy(
            update={"artifacts": artifacts, "text_canaries": (canary,), "version": "v2"}
        )

    return add


def test_dual_encoder_gives_vectors_of_words(tmp_path, with_tower, shop_draft):
    manifest = with_tower(dual_text_encoder=tower(), dual_tokenizer=tokenizer(padded_to=8))
    publish(Lake(str(tmp_path)), manifest)

    encoder = Release.open(str(tmp_path)).search.text_encoder

    vector = encoder.encode([shop_draft.text_canaries[0].text]).text_to_image_embedding[0]
    assert vector.tolist() == manifest.text_canaries[0].text_to_image_embedding
    assert vector.tolist() != shop_draft.text_canaries[0].text_to_image_embedding


def test_dual_encoder_of_another_size_is_rejected(tmp_path, with_tower):
    padded = tokenizer(padded_to=8)
    publish(Lake(str(tmp_path)), with_tower(dual_text_encoder=tower(5), dual_tokenizer=padded))

    message = refusal(str(tmp_path))
    assert "found 5 dimensions of text_to_image_embedding; expected 4" in message
    assert "dual_text_encoder" in message


def test_canary_of_another_dual_encoder_names_its_files(tmp_path, with_tower, shop_draft):
    manifest = with_tower(dual_text_encoder=tower(), dual_tokenizer=tokenizer(padded_to=8))
    canary = manifest.text_canaries[0]
    other = canary.model_copy(
        update={"text_to_image_embedding": [-x for x in canary.text_to_image_embedding]}
    )
    publish(Lake(str(tmp_path)), manifest.model_copy(update={"text_canaries": (other,)}))

    message = refusal(str(tmp_path))

    assert "found text_to_image_embedding off by" in message
    assert "dual_text_encoder" in message
    assert shop_draft.artifacts["text_encoder"].path not in message


def test_half_a_dual_encoder_is_rejected(with_tower):
    manifest = with_tower(dual_text_encoder=tower())

    with pytest.raises(ValidationError, match="missing artifacts: dual_tokenizer"):
        Manifest.model_validate(manifest.model_dump())


def test_damaged_dual_encoder_is_named(tmp_path, with_tower):
    manifest = with_tower(dual_text_encoder=tower(), dual_tokenizer=tokenizer(padded_to=8))
    (tmp_path / "dual_tokenizer").write_bytes(b"{}")
    digest = artifact_of(Lake(str(tmp_path)), "dual_tokenizer")
    artifacts = manifest.artifacts | {"dual_tokenizer": digest}
    publish(Lake(str(tmp_path)), manifest.model_copy(update={"artifacts": artifacts}))

    assert "dual_tokenizer" in refusal(str(tmp_path))
