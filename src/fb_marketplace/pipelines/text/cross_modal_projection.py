"""Words brought to pictures: two small networks, into one space, from what a text means and what a photo
shows.

Both encoders stay as they are. The networks are trained so that of a batch of listings each text is nearest
to a photo of its own (InfoNCE both ways, as Radford et al., 2021, have it). Of photos they see the features
of the frozen backbone: the embedding, which is made to tell photos of one listing from those of others, has
lost much of what they show (R@10 of test titles 0.40 by it, 0.48 by the features).
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.text import ProjectionParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors
from fb_marketplace_serving.encoders.text import TextEncoder

Floats = NDArray[np.float32]


class Layers(NamedTuple):
    """A network: input → hidden (GELU) → the common space, made length one. All float32."""

    weight_in: Floats
    bias_in: Floats
    weight_out: Floats
    bias_out: Floats


class TrainedProjection(NamedTuple):
    """The weights of both networks as safetensors, and how each epoch went."""

    texts: bytes
    photos: bytes
    history: pd.DataFrame


class Pairs(NamedTuple):
    """Texts and photos of the same listings.

    Attributes:
        meanings: float32, (listings, 3, dimension): of the title, of its first words, of the whole text.
        photos: float32, (photos, features), of length one, sorted by listing.
        starts: int64, (listings + 1,), where each listing's photos begin.
        groups: int64, (listings,), listings of one group have the same number.
    """

    meanings: Floats
    photos: Floats
    starts: NDArray[np.int64]
    groups: NDArray[np.int64]


def train_projection(
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_embeddings: Table,
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: ProjectionParameters,
) -> TrainedProjection:
    """Train on the listings of the training split; keep the epoch that finds best among validation's.

    Args:
        sentence_encoder: of texts, ONNX.
        text_tokenizer: its tokenizer.
        text_embeddings: what the whole texts mean.
        vision_features: of photos.
        products: the titles.
        splits: where each photo belongs.
        parameters: of the training.

    Returns:
        ``text_projection`` and ``photo_projection``: the weights; and ``projection_history``: ``epoch``,
        ``loss`` and ``recall_at_10``, the share of validation's titles that find a photo of their listing
        among the first ten of all photos of that split.

    Raises:
        UserError: the training or the validation split has no listing with a photo.
    """
    encoder = TextEncoder.from_bytes(sentence_encoder.read(), text_tokenizer.read())
    texts = read_vectors(text_embeddings, "product_id", "meaning")
    photos = read_vectors(vision_features, "image_id", "features")
    train, validation = (
        _pairs(encoder, texts, photos, products, splits, split, parameters.max_listings)
        for split in ("train", "validation")
    )
    return _train(train, validation, parameters)


def _pairs(
    encoder: TextEncoder,
    texts: VectorTable,
    photos: VectorTable,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    split: str,
    most: int,
) -> Pairs:
    here = splits[(splits["split"] == split) & splits["image_id"].isin(set(photos.ids))]
    chosen = here.sort_values(["product_id", "image_id"])
    ids = chosen["product_id"].unique()[:most]
    if not len(ids):
        raise UserError(
            f"found no listing with a photo in the split {split}; expected some: give more listings, or "
            "larger shares under `splits:` in parameters_cleaning.yml"
        )
    chosen = chosen[chosen["product_id"].isin(ids)]
    titles = products.set_index("product_id")["title"].loc[ids].to_list()
    forms = []
    with Progress(f"titles of {split} encoded", len(titles)) as progress:
        for title in titles:
            forms.append(encoder.encode([title, shorten_title(title)]).meaning)
            progress.advance(1)
    counts = chosen["product_id"].value_counts().loc[ids].to_numpy()
    first = chosen.drop_duplicates("product_id")["group"]
    whole = texts.of(list(ids))[:, np.newaxis]
    return Pairs(
        np.concatenate([np.stack(forms), whole], axis=1),
        l2_normalize(photos.of(chosen["image_id"].to_list())),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.unique(first, return_inverse=True)[1].astype(np.int64),
    )


def _train(train: Pairs, validation: Pairs, parameters: ProjectionParameters) -> TrainedProjection:
    import torch
    from safetensors.numpy import save
    from torch import nn

    torch.manual_seed(parameters.seed)
    generator = torch.Generator().manual_seed(parameters.seed)
    meanings, photos = torch.from_numpy(train.meanings), torch.from_numpy(train.photos)
    starts, groups = torch.from_numpy(train.starts), torch.from_numpy(train.groups)
    counts = starts[1:] - starts[:-1]

    def network(size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(size, parameters.hidden_dim),
            nn.GELU(),
            nn.Dropout(parameters.dropout),
            nn.Linear(parameters.hidden_dim, parameters.dimension),
        )

    towers = nn.ModuleList([network(meanings.shape[2]), network(photos.shape[1])])
    of_text, of_photo = towers
    optimizer = torch.optim.AdamW(
        towers.parameters(), parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    steps = -(-len(meanings) // parameters.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, parameters.learning_rate, total_steps=steps * parameters.epochs
    )
    best: tuple[float, tuple[Layers, ...]] = (-1.0, ())
    history: list[dict[str, Any]] = []
    with Progress("epochs of the projection", parameters.epochs) as progress:
        for epoch in range(1, parameters.epochs + 1):
            losses = []
            mixed = torch.randperm(len(meanings), generator=generator)
            for rows in torch.split(mixed, parameters.batch_size):
                form = torch.randint(meanings.shape[1], rows.shape, generator=generator)
                turn = torch.rand(rows.shape, generator=generator)
                photo = starts[rows] + (turn * counts[rows]).long()
                put = nn.functional.normalize(of_text(meanings[rows, form]), dim=1)
                shown = nn.functional.normalize(of_photo(photos[photo]), dim=1)
                alike = put @ shown.T / parameters.temperature
                # Another listing of the group is no wrong answer, nor a right one.
                same = groups[rows][:, None] == groups[rows]
                alike = alike.masked_fill(same & ~torch.eye(len(rows), dtype=torch.bool), -1e9)
                own = torch.arange(len(rows))
                loss = (
                    nn.functional.cross_entropy(alike, own)
                    + nn.functional.cross_entropy(alike.T, own)
                ) / 2
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
            layers = (_layers(of_text), _layers(of_photo))
            recall = recall_at_10(*layers, validation)
            history.append({"epoch": epoch, "loss": float(np.mean(losses)), "recall_at_10": recall})
            if recall > best[0]:
                best = (recall, layers)
            progress.advance(1)
    texts, shown_as = (save(each._asdict()) for each in best[1])
    return TrainedProjection(texts, shown_as, pd.DataFrame(history))


def _layers(network: Any) -> Layers:
    into, _, _, out = network
    found = (into.weight.T, into.bias, out.weight.T, out.bias)
    return Layers(*(each.detach().numpy().copy() for each in found))


def project(layers: Layers, vectors: Floats) -> Floats:
    """Put meanings or features into the common space: float32, (n, dimension), of length one."""
    from scipy.special import erf

    wide = vectors @ layers.weight_in + layers.bias_in
    wide = wide * 0.5 * (1 + erf(wide / np.sqrt(2)))
    return l2_normalize(wide @ layers.weight_out + layers.bias_out)


def l2_normalize(vectors: Floats) -> Floats:
    """Give vectors their direction alone."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def recall_at_10(of_text: Layers, of_photo: Layers, pairs: Pairs) -> float:
    """Give the share of titles that find a photo of their own listing among the first ten."""
    alike = project(of_text, pairs.meanings[:, 0]) @ project(of_photo, pairs.photos).T
    ten = min(10, alike.shape[1])
    first = np.argpartition(-alike, ten - 1, axis=1)[:, :ten]
    own = np.repeat(np.arange(len(pairs.meanings)), np.diff(pairs.starts))
    found = (own[first] == np.arange(len(pairs.meanings))[:, np.newaxis]).any(axis=1)
    return float(found.mean())
