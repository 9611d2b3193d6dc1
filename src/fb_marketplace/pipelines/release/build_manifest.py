"""Manifest of a release: artifacts with checksums, metrics, and canaries."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from fb_marketplace.ann.vector_tables import WrittenTable
from fb_marketplace.ml.batch_inference import open_encoder
from fb_marketplace.observability.versions import code_revision
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION
from fb_marketplace_serving.release.manifest import (
    DUAL_ENCODER,
    PARTS,
    Abstention,
    Artifact,
    ArtifactName,
    Canary,
    Manifest,
    Part,
    PretrainedWeights,
    SearchArtifact,
    TextCanary,
    VectorTableFiles,
    artifact_of,
    tails_sha256,
)
from fb_marketplace_serving.search.listings.listing import read_listings
from fb_marketplace_serving.storage.lake import Lake

UNPUBLISHED: Final = "unpublished"
"""Version of a manifest before it is saved. Saving replaces it with the run's version."""

CANARY_NEIGHBORS: Final = 5

TEXT_ENCODER: Final[tuple[SearchArtifact, ...]] = (
    "text_encoder",
    "text_tokenizer",
    *DUAL_ENCODER,
)
"""Artifacts of the text encoder; a dual encoder is optional."""


def build_manifest(
    lake: Lake,
    encoder: FileRef | Skipped,
    encoder_report: dict[str, Any] | Skipped,
    image_index: FileRef | Skipped,
    image_index_ids: FileRef | Skipped,
    listings: FileRef,
    descriptions: FileRef,
    release_photos: FileRef,
    release_display_photos: FileRef,
    release_photo_files: dict[str, int],
    release_measures: FileRef,
    listing_features: FileRef,
    gazetteer: FileRef,
    word_index: FileRef,
    text_encoder: FileRef,
    text_tokenizer: FileRef,
    text_index: FileRef,
    text_index_ids: FileRef,
    dual_text_encoder: FileRef | Skipped,
    dual_tokenizer: FileRef | Skipped,
    dual_encoder_report: dict[str, Any] | Skipped,
    text_to_image_index: FileRef | Skipped,
    text_to_image_index_ids: FileRef | Skipped,
    ranker: FileRef | Skipped,
    relevance_model: FileRef | Skipped,
    price_insights: FileRef | Skipped,
    provenance: FileRef,
    vector_tables: dict[str, WrittenTable],
    gate_verdict: dict[str, Any],
    abstention: dict[str, Any] | Skipped,
    vision_labels: list[str] | Skipped,
    images: Table,
    content_digests: dict[str, str],
    vision_metrics: dict[str, Any] | Skipped,
    retrieval_metrics: dict[str, Any] | Skipped,
    ranking_metrics: dict[str, Any] | Skipped,
    price_insight_metrics: dict[str, Any] | Skipped,
    parameters: ReleaseParameters,
) -> Manifest:
    """Build the manifest of a release that supports text search.

    Outputs that the run skipped are missing parts.

    Args:
        lake: the lake; artifact paths are relative to it.
        encoder: image encoder, ONNX.
        encoder_report: source and licence of its pretrained weights.
        image_index: index of photos.
        image_index_ids: ids of its rows.
        listings: listing cards.
        descriptions: description of each listing.
        release_photos: file and offset of each photo.
        release_display_photos: file and offset of each display rendition.
        release_photo_files: sizes of the photo files in bytes, by name.
        release_measures: case metrics, for the next gate.
        listing_features: features of the listings, for the ranker.
        gazetteer: towns with their coordinates.
        word_index: BM25 index.
        text_encoder: text encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_index: index of texts.
        text_index_ids: ids of its rows.
        dual_text_encoder: text tower of the dual encoder, ONNX.
        dual_tokenizer: its tokenizer.
        dual_encoder_report: source and licence of its weights.
        text_to_image_index: index of photos in the space of texts.
        text_to_image_index_ids: ids of its rows.
        ranker: LambdaMART model.
        relevance_model: predicts which listings are relevant to a search.
        price_insights: price intervals and insights.
        provenance: sources of each listing and photo.
        vector_tables: tables in place of the indexes, by URL; empty if the search engine is ``faiss``.
        gate_verdict: report of the passed gate.
        abstention: confidence threshold of the classifier.
        vision_labels: classes of the classifier.
        images: the photos, for the canaries.
        content_digests: digests of listings and photos.
        vision_metrics: metrics of the classifier.
        retrieval_metrics: metrics of image search.
        ranking_metrics: metrics of the ranker.
        price_insight_metrics: metrics of the price intervals.
        parameters: number of canaries.
    """
    if isinstance(dual_text_encoder, Skipped):  # In a market without photos, the others exist.
        dual_tokenizer = dual_encoder_report = dual_text_encoder
    files: dict[ArtifactName, FileRef | Skipped] = {
        "encoder": encoder,
        "image_index": image_index,
        "image_index_ids": image_index_ids,
        "listings": listings,
        "descriptions": descriptions,
        "release_photos": release_photos,
        "release_display_photos": release_display_photos,
        "release_measures": release_measures,
        "listing_features": listing_features,
        "gazetteer": gazetteer,
        "word_index": word_index,
        "text_encoder": text_encoder,
        "text_tokenizer": text_tokenizer,
        "text_index": text_index,
        "text_index_ids": text_index_ids,
        "dual_text_encoder": dual_text_encoder,
        "dual_tokenizer": dual_tokenizer,
        "text_to_image_index": text_to_image_index,
        "text_to_image_index_ids": text_to_image_index_ids,
        "ranker": ranker,
        "relevance_model": relevance_model,
        "price_insights": price_insights,
        "provenance": provenance,
    }
    metrics: dict[str, Any] = {
        "vision": vision_metrics,
        "retrieval": retrieval_metrics,
        "ranking": ranking_metrics,
        "typical_prices": price_insight_metrics,
        "gate": gate_verdict,
    }
    lacks: dict[Part, str] = {}
    for part, names in PARTS.items():
        for file in (files[name] for name in names):
            if isinstance(file, Skipped):
                lacks[part] = file.reason
    if isinstance(vision_labels, Skipped):
        lacks["category_prediction"] = vision_labels.reason
    elif isinstance(abstention, Skipped):
        lacks["category_prediction"] = abstention.reason
    has_classes = "category_prediction" not in lacks
    return describe_release(
        lake,
        {name: file for name, file in files.items() if not isinstance(file, Skipped)},
        release_photo_files,
        abstention if has_classes and not isinstance(abstention, Skipped) else None,
        vision_labels if has_classes and not isinstance(vision_labels, Skipped) else [],
        images,
        content_digests,
        {name: value for name, value in metrics.items() if not isinstance(value, Skipped)},
        parameters.canaries,
        lacks,
        [
            weights
            for report in (encoder_report, dual_encoder_report)
            for weights in ([] if isinstance(report, Skipped) else report["weights"])
        ],
        vector_tables,
    )


def describe_release(
    lake: Lake,
    files: Mapping[ArtifactName, FileRef],
    photo_files: dict[str, int],
    abstention: dict[str, Any] | None,
    labels: list[str],
    images: Table,
    content_digests: dict[str, str],
    metrics: dict[str, Any],
    num_canaries: int,
    lacks: Mapping[Part, str] = MappingProxyType({}),
    weights: Sequence[dict[str, Any]] = (),
    vector_tables: Mapping[str, WrittenTable] = MappingProxyType({}),
) -> Manifest:
    """Build the manifest of a release. It supports text search if ``files`` has the artifacts for it.

    Args:
        lake: the lake; artifact paths are relative to it.
        files: the artifacts, by name.
        photo_files: sizes of the photo files in bytes, by name.
        abstention: confidence threshold of the classifier; None without classifier.
        labels: classes of the classifier; empty without classifier.
        images: the photos, for the canaries.
        content_digests: digests of listings and photos.
        metrics: metrics and gate report.
        num_canaries: number of canaries of each kind.
        lacks: the parts that the release lacks, with the reasons.
        weights: fields of ``PretrainedWeights``.
        vector_tables: tables in place of the indexes, by URL.
    """
    tables = {
        url.rpartition("/")[2]: make_vector_table(lake, url, table)
        for url, table in vector_tables.items()
    }
    index, dimension, canaries = Index.empty(), 0, list[Canary]()
    if "encoder" in files:
        index = Index.from_bytes(files["image_index"].read(), files["image_index_ids"].read())
        image_encoder = open_encoder(files["encoder"].read())
        dimension = image_encoder.dimension
        canaries = make_canaries(images, image_encoder, index, num_canaries)
    selected = abstention and abstention["photos"]
    text_canaries: list[TextCanary] = []
    if "text_encoder" in files:
        encoder = TextEncoder.from_bytes(
            *(files[name].read() for name in TEXT_ENCODER if name in files)
        )
        text_canaries = make_text_canaries(encoder, files["listings"], num_canaries)
    return Manifest(
        version=UNPUBLISHED,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_revision=code_revision(),
        data_digest=make_key(content_digests["products"], content_digests["images"]),
        artifacts={
            name: make_artifact(lake, file) for name, file in files.items() if name not in tables
        },
        search_engine="lance" if tables else "faiss",
        vector_tables=tables,
        lacks=dict(lacks),
        labels=tuple(labels),
        abstention=(
            Abstention(threshold=selected["threshold"], error=selected["error"])
            if selected
            else None
        ),
        photos_version=canonical.VERSION,
        framing_version=FRAMING_VERSION,
        embedding_dimension=dimension,
        counts={
            "photos": len(index),
            "products": len(set(index.product_ids)),
            "photo_files": len(photo_files),
        },
        weights=tuple(PretrainedWeights.model_validate(values) for values in weights),
        metrics=metrics,
        canaries=tuple(canaries),
        text_canaries=tuple(text_canaries),
    )


def make_artifact(lake: Lake, file: FileRef) -> Artifact:
    """Build the artifact of a file: its path in the lake, size and checksum.

    Raises:
        ValueError: the file is not in the lake.
    """
    return artifact_of(lake, _path(lake, file.url))


def make_vector_table(lake: Lake, url: str, table: WrittenTable) -> VectorTableFiles:
    """Build the entry of a table: its path in the lake, its version and its files with checksums.

    Raises:
        ValueError: the table is not in the lake.
    """
    path = _path(lake, url)
    files = VectorTableFiles(
        path=path,
        version=table.version,
        index_sha256=table.index_sha256,
        files=tuple(artifact_of(lake, file) for file in sorted(lake.find(path))),
        tails_sha256="0" * 64,
    )
    return files.model_copy(update={"tails_sha256": tails_sha256(lake, files.split()[0])})


def _path(lake: Lake, url: str) -> str:
    root = f"{lake.url}/"
    if not url.startswith(root):
        raise ValueError(f"{url} is not in the lake {lake.url}")
    return url.removeprefix(root)


def make_canaries(images: Table, encoder: Encoder, index: Index, count: int) -> list[Canary]:
    """Build canaries from evenly spaced photos, with the outputs that a server must reproduce."""
    order = images.order("image_id")
    selected = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(np.int64)]
    photos = images.take(selected.tolist(), ["image_id", "jpeg"]).to_pylist()
    canaries = []
    for photo in photos:
        encoding = encoder.encode(canonical.decode_canonical(photo["jpeg"])[np.newaxis])
        rows = index.search(encoding.embeddings[0], CANARY_NEIGHBORS).rows
        canaries.append(
            Canary(
                image_id=photo["image_id"],
                photo=base64.b64encode(photo["jpeg"]).decode(),
                probabilities=[round(float(p), 6) for p in encoding.probabilities[0]],
                embedding=[round(float(x), 6) for x in encoding.embeddings[0]],
                neighbors=[index.image_ids[row] for row in rows],
            )
        )
    return canaries


def make_text_canaries(encoder: TextEncoder, listings: FileRef, count: int) -> list[TextCanary]:
    """Build canaries from evenly spaced titles, with the embeddings that a server must reproduce."""
    titles = [listing.title for listing in read_listings(listings.read()).values()]
    selected = np.linspace(0, len(titles) - 1, min(count, len(titles))).astype(np.int64)
    canaries = []
    for row in selected.tolist():
        encoding = encoder.encode([titles[row]])
        canaries.append(
            TextCanary(
                text=titles[row],
                text_embedding=[round(float(x), 6) for x in encoding.text_embedding[0]],
                text_to_image_embedding=[
                    round(float(x), 6) for x in encoding.text_to_image_embedding[0]
                ],
            )
        )
    return canaries
