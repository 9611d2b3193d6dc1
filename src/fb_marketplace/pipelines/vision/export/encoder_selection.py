"""From a trained model to the one encoder that is served: calibrated, in fp32 or int8."""

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.ml.batch_inference import encode_rows, open_encoder
from fb_marketplace.ml.probabilities import fit_temperature
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import photos_with_labels
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
from fb_marketplace.pipelines.vision.export.quantization import quantize
from fb_marketplace.pipelines.vision.training.train_embedding import embedding_layer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    from fb_marketplace.pipelines.vision.models.network import Network

PHOTOS_PER_BATCH: Final = 8

logger = logging.getLogger(__name__)


class SelectedEncoder(NamedTuple):
    """The encoder that is served, and why it is this one."""

    encoder: bytes
    report: dict[str, Any]


def calibrate_encoder(
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> dict[str, float]:
    """Fit the temperature of a model on the validation photos."""
    from fb_marketplace.pipelines.vision.training.fine_tuning import read_logits

    network = _network(vision_model, vision_labels, parameters)
    photos = _of_split(images, products, splits, "validation")
    exact = parameters.fine_tuning.model_copy(update={"precision": "fp32"})
    logits = read_logits(network, images, photos["row"].to_numpy(np.int64), exact)
    classes = np.asarray([vision_labels.index(each) for each in photos["category"]], np.int64)
    return {"temperature": fit_temperature(logits, classes), "photos": len(photos)}


def export_encoder(
    vision_model: FileRef,
    vision_labels: list[str],
    embedding_head: FileRef,
    calibration: dict[str, float],
    parameters: VisionParameters,
) -> bytes:
    """Export a trained model with its calibration and its embedding in fp32; gives ONNX."""
    network = _network(vision_model, vision_labels, parameters)
    layer = embedding_layer(network, sha256(vision_model.read()), embedding_head.read(), parameters)
    return export_trained(network, calibration["temperature"], layer)


def quantize_encoder(
    encoder_fp32: FileRef,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> bytes:
    """Quantise an encoder to int8; the ranges are taken from training photos, spread evenly."""
    rows = _of_split(images, products, splits, "train")["row"].to_numpy(np.int64)
    count = min(parameters.encoder.calibration_photos, len(rows))
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    return quantize(encoder_fp32.read(), images, chosen.tolist())


def select_encoder(
    encoder_fp32: FileRef,
    encoder_int8: FileRef,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> SelectedEncoder:
    """Choose what is served by what int8 loses on the validation photos.

    Returns:
        The encoder; and the accuracy of both, what int8 loses of it, and the cosine between their
        embeddings.
    """
    photos = _of_split(images, products, splits, "validation")
    classes = np.asarray([vision_labels.index(each) for each in photos["category"]], np.int64)
    graphs = {"fp32": encoder_fp32.read(), "int8": encoder_int8.read()}
    answers = {name: _encoded(graph, images, photos) for name, graph in graphs.items()}
    right = {
        name: float((probabilities.argmax(axis=1) == classes).mean())
        for name, (probabilities, _) in answers.items()
    }
    cosines = np.sum(answers["fp32"][1] * answers["int8"][1], axis=1)
    told, lost = parameters.encoder, right["fp32"] - right["int8"]
    faithful = lost < told.max_accuracy_lost and float(cosines.mean()) >= told.min_cosine
    served = "int8" if faithful and told.served != "fp32" else "fp32"
    if told.served == "int8" and not faithful:
        logger.warning(
            "int8 was asked for, but loses %.4f of accuracy (less than %.4f is allowed) and has a mean "
            "cosine of %.4f (%.4f is needed): fp32 is served; see vision.encoder",
            *(lost, told.max_accuracy_lost, float(cosines.mean()), told.min_cosine),
        )
    report = {
        "served": served,
        "asked": told.served,
        "photos": len(photos),
        "fp32": {"accuracy": round(right["fp32"], 4), "bytes": len(graphs["fp32"])},
        "int8": {
            "accuracy": round(right["int8"], 4),
            "bytes": len(graphs["int8"]),
            "accuracy_lost": round(lost, 4),
            "mean_cosine": round(float(cosines.mean()), 5),
            "lowest_cosine": round(float(cosines.min()), 5),
            "faithful": faithful,
        },
        "bounds": {"accuracy_lost": told.max_accuracy_lost, "mean_cosine": told.min_cosine},
    }
    return SelectedEncoder(graphs[served], report)


def _network(model: FileRef, labels: list[str], parameters: VisionParameters) -> "Network":
    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    return load_trained_network(model.read(), len(labels), parameters)


def _of_split(
    images: Table, products: pd.DataFrame, splits: pd.DataFrame, split: str
) -> pd.DataFrame:
    listed = photos_with_labels(images, products, splits)
    return listed[listed["split"] == split]


def _encoded(
    graph: bytes, images: Table, photos: pd.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    encodings = [
        encoding
        for _, encoding in encode_rows(
            open_encoder(graph), images, photos["row"].to_list(), PHOTOS_PER_BATCH
        )
    ]
    return (
        np.concatenate([each.probabilities for each in encodings]),
        np.concatenate([each.embeddings for each in encodings]),
    )
