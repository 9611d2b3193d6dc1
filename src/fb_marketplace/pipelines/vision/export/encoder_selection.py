"""From the trained model to the served encoder: calibration, export, quantization, selection."""

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.ml.batch_inference import encode_rows
from fb_marketplace.ml.probabilities import fit_temperature
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import (
    label_indices,
    num_classes,
    photos_with_labels,
)
from fb_marketplace.pipelines.vision.export.external_encoder import (
    join_encoders,
    load_external_encoder,
)
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
from fb_marketplace.pipelines.vision.export.quantization import quantize
from fb_marketplace.pipelines.vision.models.backbones import METRIC, POOL, describe_weights
from fb_marketplace.pipelines.vision.training.train_embedding import (
    embedding_layer,
    layer_slices,
)
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    from fb_marketplace.pipelines.vision.models.network import Network

logger = logging.getLogger(__name__)


class SelectedEncoder(NamedTuple):
    """The served encoder as ONNX, and a report on its selection."""

    encoder: bytes
    report: dict[str, Any]


def calibrate_encoder(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> dict[str, float]:
    """Fit the temperature of the model on validation photos.

    Args:
        block_features: the pooled blocks of every photo, computed by the model.
        products: the listings whose category is a class.
        splits: split of each photo.
        vision_model: the trained network.
        vision_labels: its classes.
        parameters: the recipe.

    Returns:
        ``temperature``, and ``photos``, the number of validation photos.
    """
    import torch

    network = _load_network(vision_model, vision_labels, parameters)
    photos = _photos_of_split(block_features, products, splits, "validation")
    pooled = layer_slices(network, parameters)[POOL]
    features = block_features.vectors(photos["row"].to_list(), "features", pooled)
    with torch.no_grad():
        logits = network.head(torch.from_numpy(features)).numpy()
    classes = label_indices(photos["category"], vision_labels)
    return {"temperature": fit_temperature(logits, classes), "photos": len(photos)}


def export_encoder(
    vision_model: FileRef,
    vision_labels: list[str] | Skipped,
    embedding_head: FileRef | Skipped,
    calibration: dict[str, float] | Skipped,
    parameters: VisionParameters,
) -> bytes:
    """Export the model with its temperature and embedding in fp32; returns ONNX.

    Without an embedding head, the pooled features are the embedding.
    """
    network = _load_network(vision_model, vision_labels, parameters)
    head = b"" if isinstance(embedding_head, Skipped) else embedding_head.read()
    parameters = _with_served_layer(parameters, embedding_head)
    layer = embedding_layer(network, sha256(vision_model.read()), head, parameters)
    temperature = 1.0 if isinstance(calibration, Skipped) else calibration["temperature"]
    return export_trained(network, temperature, layer)


def quantize_encoder(
    encoder_fp32: FileRef,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> bytes:
    """Quantize the encoder to int8, calibrated on evenly spaced training photos; returns ONNX.

    Raises:
        InsufficientDataError: the training split has no photo of a class.
    """
    rows = _photos_of_split(images, products, splits, "train")["row"].to_numpy(np.int64)
    if not len(rows):
        raise InsufficientDataError("int8 needs photos in the training split, but there are none")
    count = min(parameters.encoder.calibration_photos, len(rows))
    selected = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    return quantize(encoder_fp32.read(), images, selected.tolist())


def select_encoder(
    encoder_fp32: FileRef,
    encoder_int8: FileRef | Skipped,
    embedding_head: FileRef | Skipped,
    external_encoder_selection: dict[str, Any] | Skipped,
    images: Table,
    products: pd.DataFrame | Skipped,
    splits: pd.DataFrame,
    vision_labels: list[str] | Skipped,
    parameters: VisionParameters,
    weights_license: str | None,
) -> SelectedEncoder:
    """Select the served encoder: fp32, unless int8 is allowed and its loss on validation is within bounds.

    Without a classifier, whose accuracy int8 could lower, fp32 is served. An external encoder joins last.

    Returns:
        The encoder, and a report: source and licence of its pretrained weights, accuracy of both, the drop
        by int8, and the cosine similarity of their embeddings.
    """
    # The digest of `parameters` does not have it; a changed licence runs this node again.
    parameters = parameters.model_copy(update={"weights_license": weights_license})
    parameters = _with_served_layer(parameters, embedding_head)
    if (
        isinstance(encoder_int8, Skipped)
        or isinstance(products, Skipped)
        or isinstance(vision_labels, Skipped)
    ):
        requested = parameters.encoder.precision
        report: dict[str, Any] = {"precision": "fp32", "requested": requested, "photos": 0}
        return _with_external_encoder(
            encoder_fp32.read(), report, external_encoder_selection, parameters
        )
    photos = _photos_of_split(images, products, splits, "validation")
    classes = label_indices(photos["category"], vision_labels)
    graphs = {"fp32": encoder_fp32.read(), "int8": encoder_int8.read()}
    outputs = {
        name: encode_rows(graph, images, photos["row"].to_list()) for name, graph in graphs.items()
    }
    accuracy = {
        name: float((probabilities.argmax(axis=1) == classes).mean())
        for name, (probabilities, _) in outputs.items()
    }
    cosines = np.sum(outputs["fp32"][1] * outputs["int8"][1], axis=1)
    config, drop = parameters.encoder, accuracy["fp32"] - accuracy["int8"]
    mean_cosine = float(cosines.mean())
    within_bounds = drop < config.max_accuracy_drop and mean_cosine >= config.min_cosine
    precision = "int8" if within_bounds and config.precision != "fp32" else "fp32"
    if config.precision == "int8" and not within_bounds:
        logger.warning(
            "vision.encoder.precision is int8, but int8 has an accuracy drop of %.4f (max_accuracy_drop: "
            "%.4f) and a mean cosine of %.4f (min_cosine: %.4f): fp32 is served",
            *(drop, config.max_accuracy_drop, mean_cosine, config.min_cosine),
        )
    report = {
        "precision": precision,
        "requested": config.precision,
        "photos": len(photos),
        "fp32": {"accuracy": round(accuracy["fp32"], 4), "bytes": len(graphs["fp32"])},
        "int8": {
            "accuracy": round(accuracy["int8"], 4),
            "bytes": len(graphs["int8"]),
            "accuracy_drop": round(drop, 4),
            "mean_cosine": round(mean_cosine, 5),
            "lowest_cosine": round(float(cosines.min()), 5),
            "within_bounds": within_bounds,
        },
        "bounds": {"accuracy_drop": config.max_accuracy_drop, "mean_cosine": config.min_cosine},
    }
    return _with_external_encoder(graphs[precision], report, external_encoder_selection, parameters)


def _with_external_encoder(
    encoder: bytes,
    report: dict[str, Any],
    selection: dict[str, Any] | Skipped,
    parameters: VisionParameters,
) -> SelectedEncoder:
    """Join the external encoder, if it has a weight, and report the pretrained weights of all parts."""
    config, weights = parameters.external_encoder, describe_weights(parameters)
    if config is not None and not isinstance(selection, Skipped):
        report = report | {"external_encoder": selection}
        if selection["weight"]:
            encoder = join_encoders(encoder, load_external_encoder(config), selection["weight"])
            name = config.onnx.rpartition("/")[2]
            weights.append(
                {
                    "name": "external encoder",
                    "source": f"file {name}",
                    "sha256": config.sha256.lower(),
                    "license": config.license,
                }
            )
        else:
            logger.warning(
                "vision.external_encoder is not served: its best weight on validation is 0, %s",
                f"Recall@1 {selection['recall_at_1']}",
            )
    return SelectedEncoder(encoder, report | {"weights": weights})


def _with_served_layer(
    parameters: VisionParameters, embedding_head: FileRef | Skipped
) -> VisionParameters:
    """Return the parameters with the pooled features as the embedding if its head was not trained."""
    if not isinstance(embedding_head, Skipped) or parameters.embedding.layer != METRIC:
        return parameters
    embedding = parameters.embedding.model_copy(update={"layer": POOL})
    return parameters.model_copy(update={"embedding": embedding})


def _load_network(
    model: FileRef, labels: list[str] | Skipped, parameters: VisionParameters
) -> "Network":
    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    return load_trained_network(model.read(), num_classes(labels), parameters)


def _photos_of_split(
    table: Table, products: pd.DataFrame, splits: pd.DataFrame, split: str
) -> pd.DataFrame:
    listed = photos_with_labels(table, products, splits)
    return listed[listed["split"] == split]
