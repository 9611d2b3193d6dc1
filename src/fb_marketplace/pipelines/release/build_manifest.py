"""What a server needs, sealed: the listings to show, and the manifest that vouches for every file."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from fb_marketplace.ml.batch_inference import open_encoder
from fb_marketplace.observability.versions import code_revision
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.manifest import (
    Abstention,
    Artifact,
    ArtifactName,
    Canary,
    Manifest,
    TextCanary,
    artifact_of,
)
from fb_marketplace_serving.search.listings import read_listings
from fb_marketplace_serving.storage.lake import Lake

UNPUBLISHED: Final = "unpublished"
"""The version of a manifest until it is saved: then it takes the run's."""

CANARY_NEIGHBORS: Final = 5


def build_manifest(
    lake: Lake,
    encoder: FileRef,
    image_index: FileRef,
    image_index_ids: FileRef,
    listings: FileRef,
    release_photos: FileRef,
    release_photo_files: dict[str, int],
    release_measures: FileRef,
    listing_features: FileRef,
    gazetteer: FileRef,
    word_index: FileRef,
    text_encoder: FileRef,
    text_tokenizer: FileRef,
    text_index: FileRef,
    text_index_ids: FileRef,
    text_to_image_index: FileRef,
    text_to_image_index_ids: FileRef,
    ranker: FileRef,
    price_insights: FileRef,
    provenance: FileRef,
    gate_verdict: dict[str, Any],
    abstention: dict[str, Any],
    vision_labels: list[str],
    images: Table,
    content_digests: dict[str, str],
    vision_metrics: dict[str, Any],
    retrieval_metrics: dict[str, Any],
    ranking_metrics: dict[str, Any],
    price_insight_metrics: dict[str, Any],
    parameters: ReleaseParameters,
) -> Manifest:
    """Describe a release by its files, their digests, its measures, and photos with their answers.

    Args:
        lake: the root that paths are relative to.
        encoder: the encoder, ONNX.
        image_index: the index.
        image_index_ids: the ids of its rows.
        listings: what is shown of each listing.
        release_photos: where each photo is.
        release_photo_files: the files that photos are in, by name, with their bytes.
        release_measures: how each case of the test split did, for the next gate.
        listing_features: what a search knows of each listing.
        gazetteer: towns and where they are.
        word_index: the terms of their texts.
        text_encoder: the encoder of texts, ONNX.
        text_tokenizer: its tokenizer.
        text_index: vectors of their texts.
        text_index_ids: the ids of its rows.
        text_to_image_index: vectors of photos that words are near to.
        text_to_image_index_ids: the ids of its rows.
        ranker: what puts candidates in order.
        price_insights: what alike listings ask.
        provenance: where each listing and photo comes from.
        gate_verdict: the report of the gate that it passed.
        abstention: the confidence above which a category is answered.
        vision_labels: what the classes stand for.
        images: the photos, for the canaries.
        content_digests: of the data that the release is made from.
        vision_metrics: how good the categories are.
        retrieval_metrics: how good the search for alike photos is.
        ranking_metrics: how good the search by words and photos is.
        price_insight_metrics: how good typical prices are.
        parameters: how many canaries.
    """
    files: dict[ArtifactName, FileRef] = {
        "encoder": encoder,
        "image_index": image_index,
        "image_index_ids": image_index_ids,
        "listings": listings,
        "release_photos": release_photos,
        "release_measures": release_measures,
        "listing_features": listing_features,
        "gazetteer": gazetteer,
        "word_index": word_index,
        "text_encoder": text_encoder,
        "text_tokenizer": text_tokenizer,
        "text_index": text_index,
        "text_index_ids": text_index_ids,
        "text_to_image_index": text_to_image_index,
        "text_to_image_index_ids": text_to_image_index_ids,
        "ranker": ranker,
        "price_insights": price_insights,
        "provenance": provenance,
    }
    metrics = {
        "vision": vision_metrics,
        "retrieval": retrieval_metrics,
        "ranking": ranking_metrics,
        "typical_prices": price_insight_metrics,
        "gate": gate_verdict,
    }
    return describe_release(
        lake,
        files,
        release_photo_files,
        abstention,
        vision_labels,
        images,
        content_digests,
        metrics,
        parameters.canaries,
    )


def describe_release(
    lake: Lake,
    files: Mapping[ArtifactName, FileRef],
    photo_files: dict[str, int],
    abstention: dict[str, Any],
    labels: list[str],
    images: Table,
    content_digests: dict[str, str],
    metrics: dict[str, Any],
    count: int,
) -> Manifest:
    """Describe a release of these artifacts, which can be searched by words where they are there for it.

    Args:
        lake: the root that paths are relative to.
        files: the artifacts.
        photo_files: the files that photos are in, by name, with their bytes.
        abstention: the confidence above which a category is answered.
        labels: what the classes stand for.
        images: the photos, for the canaries.
        content_digests: of the data that the release is made from.
        metrics: what it passed the gate with.
        count: canaries of each kind.
    """
    chosen = abstention["photos"]
    index = Index.from_bytes(files["image_index"].read(), files["image_index_ids"].read())
    opened = open_encoder(files["encoder"].read())
    texts: list[TextCanary] = []
    if "text_encoder" in files:
        texts = make_text_canaries(
            files["text_encoder"], files["text_tokenizer"], files["listings"], count
        )
    return Manifest(
        version=UNPUBLISHED,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_revision=code_revision(),
        data_digest=make_key(content_digests["products"], content_digests["images"]),
        artifacts={name: make_artifact(lake, file) for name, file in files.items()},
        labels=tuple(labels),
        abstention=Abstention(threshold=chosen["threshold"], error=chosen["error"]),
        photos_version=canonical.VERSION,
        embedding_dimension=opened.dimension,
        counts={
            "photos": len(index),
            "products": len(set(index.product_ids)),
            "photo_files": len(photo_files),
        },
        metrics=metrics,
        canaries=tuple(make_canaries(images, opened, index, count)),
        text_canaries=tuple(texts),
    )


def make_artifact(lake: Lake, file: FileRef) -> Artifact:
    """Describe a file of the lake.

    Raises:
        ValueError: it is not in the lake.
    """
    root = f"{lake.url}/"
    if not file.url.startswith(root):
        raise ValueError(f"{file.url} is not in the lake {lake.url}")
    return artifact_of(lake, file.url.removeprefix(root))


def make_canaries(images: Table, encoder: Encoder, index: Index, count: int) -> list[Canary]:
    """Take photos spread evenly over the table, with the answers that a server must give."""
    order = images.order("image_id")
    chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(np.int64)]
    found = images.take(chosen.tolist(), ["image_id", "jpeg"]).to_pylist()
    made = []
    for photo in found:
        encoding = encoder.encode(canonical.decode_canonical(photo["jpeg"])[np.newaxis])
        rows = index.search(encoding.embeddings[0], CANARY_NEIGHBORS).rows
        made.append(
            Canary(
                image_id=photo["image_id"],
                photo=base64.b64encode(photo["jpeg"]).decode(),
                probabilities=[round(float(p), 6) for p in encoding.probabilities[0]],
                embedding=[round(float(x), 6) for x in encoding.embeddings[0]],
                neighbours=[index.image_ids[row] for row in rows],
            )
        )
    return made


def make_text_canaries(
    text_encoder: FileRef, text_tokenizer: FileRef, listings: FileRef, count: int
) -> list[TextCanary]:
    """Take titles spread evenly over the listings, with what a server must make of them."""
    encoder = TextEncoder.from_bytes(text_encoder.read(), text_tokenizer.read())
    titles = [each.title for each in read_listings(listings.read()).values()]
    chosen = np.linspace(0, len(titles) - 1, min(count, len(titles))).astype(np.int64)
    made = []
    for place in chosen.tolist():
        found = encoder.encode([titles[place]])
        made.append(
            TextCanary(
                text=titles[place],
                meaning=[round(float(x), 6) for x in found.meaning[0]],
                pictured=[round(float(x), 6) for x in found.pictured[0]],
            )
        )
    return made
