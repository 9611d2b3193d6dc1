"""Projection of texts and photos into a common space, by canonical correlation analysis.

Both encoders stay frozen. Each side has a linear map. Together, the maps give the directions in which texts
and photos of the same listings correlate most (Hotelling, 1936; with a ridge on each side: Vinod, 1976).
Each direction is scaled by a power of its correlation (Gong et al., 2014). The maps have a closed form, so
nothing is random but the sample of listings of a large market.

Photos are described by the pooled blocks of all backbones, not by the photo embedding: that is trained to
separate listings, and keeps less of the content that they share.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.text import ProjectionParameters
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import StoredVectors, VectorTable, read_vectors
from fb_marketplace_serving.encoders.text import TextEncoder

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TITLES_PER_BATCH: Final = 256
"""Number of titles that are compared with all photos at a time."""

PHOTOS_PER_BATCH: Final = 4096
"""Number of photos whose features are in memory at a time. A photo has some 5,000 features."""

MIN_VARIANCE: Final = 1e-12
"""Variance of a feature that is constant, but for rounding."""

MIN_SCALE: Final = 0.01
"""Minimum scale of a feature, as a share of the median one. A feature that hardly varies in training may be
far from its mean in another photo, and would decide alone."""


class Projection(NamedTuple):
    """A linear map into the common space, whose outputs are scaled to unit length.

    Attributes:
        weight: float32, (input, dimension).
        bias: float32, (dimension,).
    """

    weight: Floats
    bias: Floats


class TrainedProjection(NamedTuple):
    """Both maps, safetensors, and the metrics of each pair of ridges."""

    text_projection: bytes
    photo_projection: bytes
    ridges: pd.DataFrame


class Pairs(NamedTuple):
    """Texts and photos of the same listings.

    Attributes:
        texts: float32, (listings, 3, dimension): embeddings of title, shortened title and full text.
        image_ids: photos, sorted by listing.
        starts: int64, (listings + 1,), first photo of each listing, then the number of photos.
    """

    texts: Floats
    image_ids: list[str]
    starts: NDArray[np.int64]

    def listing_of_photo(self) -> NDArray[np.int64]:
        """Return the index of each photo's listing: int64, (photos,)."""
        return np.repeat(np.arange(len(self.texts)), np.diff(self.starts))


class Moments(NamedTuple):
    """Means and covariances of pairs of a photo and a text of its listing.

    Attributes:
        photo_mean: (features,).
        photo_scale: (features,), the standard deviation of each feature, at least ``MIN_SCALE`` of the
            median; 1 for a constant one.
        text_mean: (dimension,).
        photos: (features, features), covariance of the scaled features.
        texts: (dimension, dimension), covariance.
        both: (features, dimension), covariance of scaled features and texts.
    """

    photo_mean: Doubles
    photo_scale: Doubles
    text_mean: Doubles
    photos: Doubles
    texts: Doubles
    both: Doubles


def train_projection(
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_embeddings: Table,
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: ProjectionParameters,
) -> TrainedProjection:
    """Fit the maps on the training split, with the ridges that have the best Recall@10 on validation.

    Args:
        sentence_encoder: the text encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_embeddings: embeddings of the full texts.
        block_features: pooled blocks of photos by all backbones.
        products: the listings, for their titles.
        splits: split of each photo.
        parameters: dimension and ridges.

    Returns:
        The maps, and a table of ridges with ``photo_ridge``, ``text_ridge`` and ``recall_at_10``: the share
        of validation titles with a photo of their listing among the ten nearest photos.

    Raises:
        InsufficientDataError: the training or the validation split has no listing with a photo.
    """
    from safetensors.numpy import save

    encoder = TextEncoder.from_bytes(sentence_encoder.read(), text_tokenizer.read())
    texts = read_vectors(text_embeddings, "product_id", "embedding")
    features = StoredVectors(block_features, "image_id", "features")
    present = splits[splits["image_id"].isin(features.ids)]
    train, validation = (
        make_pairs(encoder, texts, products, present, split, max_listings, parameters.seed)
        for split, max_listings in (
            ("train", parameters.max_listings),
            ("validation", parameters.max_validation_listings),
        )
    )
    text, photo, ridges = select_projections(train, validation, features, parameters)
    return TrainedProjection(save(text._asdict()), save(photo._asdict()), ridges)


def select_projections(
    train: Pairs, validation: Pairs, features: StoredVectors, parameters: ProjectionParameters
) -> tuple[Projection, Projection, pd.DataFrame]:
    """Return the maps of texts and photos with the best Recall@10 on validation, and all ridges."""
    best, rows = -1.0, []
    with limit_blas_threads():
        moments = compute_moments(train, features, parameters.title_weight)
        for ridges, text, photo in fit_projections(moments, parameters):
            recall = recall_at_10(text, photo, validation, features)
            rows.append({**ridges, "recall_at_10": recall})
            if recall > best:
                best, maps = recall, (text, photo)
    return *maps, pd.DataFrame(rows)


def make_pairs(
    encoder: TextEncoder,
    texts: VectorTable,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    split: str,
    max_listings: int,
    seed: int,
) -> Pairs:
    """Encode the titles of listings of a split with photos.

    Args:
        encoder: the text encoder.
        texts: embeddings of the full texts.
        products: the listings.
        splits: split of each photo with features.
        split: name of the split.
        max_listings: listings, at most; a sample of more.
        seed: seed of the sample.

    Raises:
        InsufficientDataError: the split has no listing with a photo.
    """
    rows = splits[splits["split"] == split].sort_values(["product_id", "image_id"])
    ids = rows["product_id"].unique()
    ids = ids[sample_rows(ids.tolist(), max_listings, seed)]
    if not len(ids):
        raise InsufficientDataError(f"the {split} split has no listing with a photo")
    rows = rows[rows["product_id"].isin(ids)]
    titles = products.set_index("product_id")["title"].loc[ids].to_list()
    encoded = []
    with Progress(f"titles of {split} encoded", len(titles)) as progress:
        for title in titles:
            encoded.append(encoder.encode([title, shorten_title(title)]).text_embedding)
            progress.advance(1)
    counts = rows["product_id"].value_counts().loc[ids].to_numpy()
    full_texts = texts.select(list(ids))[:, np.newaxis]
    return Pairs(
        np.concatenate([np.stack(encoded), full_texts], axis=1),
        rows["image_id"].to_list(),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def compute_moments(pairs: Pairs, features: StoredVectors, title_weight: float) -> Moments:
    """Compute means and covariances of all pairs of a photo and a text of its listing.

    Args:
        pairs: texts and photos.
        features: features of the photos.
        title_weight: weight of titles; shortened titles and full texts share the rest.
    """
    listing = pairs.listing_of_photo()
    count = len(listing)
    photo_share, other_weight = np.diff(pairs.starts) / count, (1 - title_weight) / 2
    text_weights = np.array([title_weight, other_weight, other_weight])
    texts = pairs.texts.astype(np.float64)
    text_mean = photo_share @ (text_weights @ texts)
    texts -= text_mean
    text_of_listing = (text_weights @ texts).astype(np.float32)
    texts *= np.sqrt(photo_share[:, np.newaxis] * text_weights)[:, :, np.newaxis]
    stacked = texts.reshape(-1, texts.shape[2])
    # Near the mean, so that sums of squares keep their precision.
    shift = features.select(pairs.image_ids[:PHOTOS_PER_BATCH]).mean(axis=0)
    total = np.zeros(len(shift))
    squares, products = np.zeros((len(shift),) * 2), np.zeros((len(shift), texts.shape[2]))
    for start in range(0, count, PHOTOS_PER_BATCH):
        batch = slice(start, start + PHOTOS_PER_BATCH)
        photos = features.select(pairs.image_ids[batch]) - shift
        total += photos.sum(axis=0, dtype=np.float64)
        squares += photos.T @ photos
        products += photos.T @ text_of_listing[listing[batch]]
    mean = total / count
    squares /= count
    squares -= np.outer(mean, mean)
    variance = squares.diagonal().copy()
    varies = variance > MIN_VARIANCE
    scale = np.sqrt(np.where(varies, variance, 1))
    scale = np.maximum(scale, MIN_SCALE * np.median(scale[varies])) if varies.any() else scale
    squares /= scale
    squares /= scale[:, np.newaxis]
    return Moments(
        shift + mean,
        scale,
        text_mean,
        squares,
        stacked.T @ stacked,
        products / count / scale[:, np.newaxis],
    )


def fit_projections(
    moments: Moments, parameters: ProjectionParameters
) -> Iterator[tuple[dict[str, float], Projection, Projection]]:
    """Yield each pair of ``photo_ridge`` and ``text_ridge``, with its maps of texts and of photos.

    The largest ridges come first: if small markets do not tell them apart, the first one is selected.
    """
    from scipy.linalg import cho_factor, cho_solve

    variances, axes = np.linalg.eigh(moments.texts)
    for photo_ridge in sorted(parameters.photo_ridge, reverse=True):
        covariance = moments.photos.copy()
        ridge = max(photo_ridge * np.trace(covariance), MIN_VARIANCE)
        covariance.flat[:: len(covariance) + 1] += ridge
        # Coefficients of the ridge regression of texts on photos.
        regression = cho_solve(cho_factor(covariance, overwrite_a=True), moments.both)
        for text_ridge in sorted(parameters.text_ridge, reverse=True):
            ridge = max(text_ridge * np.trace(moments.texts), MIN_VARIANCE)
            whitening = axes / np.sqrt(variances.clip(0) + ridge)
            whitened = regression @ whitening
            squares, directions = np.linalg.eigh((moments.both @ whitening).T @ whitened)
            top = slice(-1, -1 - parameters.dimension, -1)
            correlations = np.sqrt(squares[top].clip(MIN_VARIANCE))
            power = parameters.correlation_power
            text = whitening @ directions[:, top] * correlations**power
            photo = whitened @ directions[:, top] * correlations ** (power - 1)
            photo /= moments.photo_scale[:, np.newaxis]
            yield (
                {"photo_ridge": photo_ridge, "text_ridge": text_ridge},
                _centred(text, moments.text_mean),
                _centred(photo, moments.photo_mean),
            )


def _centred(weight: Doubles, mean: Doubles) -> Projection:
    return Projection(
        np.ascontiguousarray(weight, np.float32), np.asarray(-mean @ weight, np.float32)
    )


def project(projection: Projection, vectors: Floats) -> Floats:
    """Project vectors into the common space: float32, (n, dimension), of unit length."""
    return l2_normalize(vectors @ projection.weight + projection.bias)


def project_photos(
    features: StoredVectors, image_ids: Sequence[str], projection: Projection
) -> Floats:
    """Project photos into the common space: float32, (photos, dimension), of unit length."""
    batches = range(0, len(image_ids), PHOTOS_PER_BATCH)
    return np.concatenate(
        [
            project(projection, features.select(image_ids[start : start + PHOTOS_PER_BATCH]))
            for start in batches
        ]
    )


def l2_normalize(vectors: Floats) -> Floats:
    """Return the rows scaled to unit length: float32, (n, dimension)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def recall_at_10(
    text: Projection, photo: Projection, pairs: Pairs, features: StoredVectors
) -> float:
    """Return the share of titles with a photo of their own listing among the ten nearest photos.

    Args:
        text: the map of texts.
        photo: the map of photos.
        pairs: the titles.
        features: features of the photos; read in batches, since a listing may have many photos.
    """
    photos = project_photos(features, pairs.image_ids, photo)
    return float(find_photos(project(text, pairs.texts[:, 0]), photos, pairs).mean())


def find_photos(texts: Floats, photos: Floats, pairs: Pairs) -> NDArray[np.bool_]:
    """Return whether a photo of the own listing is among the ten nearest photos of each text.

    Args:
        texts: float32, (listings, dimension), one text per listing in the common space.
        photos: float32, (photos, dimension), their photos in the same space.
        pairs: the listings and their photos.

    Returns:
        bool, (listings,).
    """
    depth, listing = min(10, len(photos)), pairs.listing_of_photo()
    hits = np.zeros(len(texts), np.bool_)
    for start in range(0, len(texts), TITLES_PER_BATCH):
        similarities = texts[start : start + TITLES_PER_BATCH] @ photos.T
        top = np.argpartition(-similarities, depth - 1, axis=1)[:, :depth]
        own = np.arange(start, start + len(similarities))[:, np.newaxis]
        hits[start : start + len(similarities)] = (listing[top] == own).any(axis=1)
    return hits
