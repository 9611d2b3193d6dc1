"""A dual encoder for search of photos by text: both towers as ONNX, and the vectors of all photos."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.pipelines.vision.export.backbone_features import extract_features
from fb_marketplace.pipelines.vision.export.onnx_export import export_graph
from fb_marketplace.pipelines.vision.models.dual_encoders import (
    image_tower,
    load_dual_encoder,
    text_tower,
)
from fb_marketplace.pipelines.vision.models.timm_networks import short_message
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import Keys
from fb_marketplace_serving.encoders.image import EMBEDDING, INPUT
from fb_marketplace_serving.encoders.session import open_session
from fb_marketplace_serving.encoders.text import IDS, TEXT_TO_IMAGE_EMBEDDING
from fb_marketplace_serving.imaging.canonical import SIDE

REVISION: Final = 1
LIBRARIES: Final = ("onnxruntime", "pillow")
"""Libraries that decode photos and run the graph; another version may change the last digits of vectors."""

MAX_DIFFERENCE: Final = 1e-4
"""Maximum difference between the vectors of a network and of its graph."""

EXAMPLES: Final = ("", "oak table", "a red lamp, hardly used, to be collected")
"""Texts that both are compared on."""


class ExportedDualEncoder(NamedTuple):
    """Both towers, ONNX, the tokenizer, JSON, and a report."""

    image_encoder: bytes
    text_encoder_fp32: bytes
    tokenizer: bytes
    report: dict[str, Any]


def export_dual_encoder(parameters: SearchParameters) -> ExportedDualEncoder:
    """Export both towers of the dual encoder, and compare the graphs with the networks.

    Args:
        parameters: the dual encoder.

    Returns:
        The towers: an image encoder, and a text encoder that reads ``ids``, int64 (n, length). The
        tokenizer. A report: ``dimension``, ``tokens``, ``max_difference`` between graphs and networks, and
        ``weights`` with source, digest and licence.

    Raises:
        InsufficientDataError: the parameters name no dual encoder.
        UserError: it cannot be loaded or exported.
    """
    if parameters.dual_encoder is None:
        raise InsufficientDataError("search.dual_encoder is null")
    import torch
    from tokenizers import Tokenizer

    encoder = load_dual_encoder(parameters)
    tokenizer = Tokenizer.from_str(encoder.tokenizer.decode())
    ids = np.array([tokenizer.encode(text).ids for text in EXAMPLES], np.int64)
    photos = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    towers = image_tower(encoder.network), text_tower(encoder.network)
    try:
        graphs = (
            export_graph(towers[0]),
            export_graph(towers[1], torch.from_numpy(ids[:2]), IDS, [TEXT_TO_IMAGE_EMBEDDING]),
        )
    except Exception as error:  # each exporter and network has its own errors
        raise UserError(
            f"search.dual_encoder: {parameters.dual_encoder} cannot be exported to ONNX "
            f"({short_message(error)}). Choose another network, with less than 2 GB per tower"
        ) from error
    with torch.no_grad():
        expected = towers[0](torch.from_numpy(photos))[1], towers[1](torch.from_numpy(ids))
    served = (
        _run(graphs[0], INPUT, EMBEDDING, photos),
        _run(graphs[1], IDS, TEXT_TO_IMAGE_EMBEDDING, ids),
    )
    difference = max(
        float(np.abs(one - other.numpy()).max())
        for one, other in zip(served, expected, strict=True)
    )
    # "not <=" so that NaN fails too.
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"search.dual_encoder: {parameters.dual_encoder} as ONNX gives vectors off by "
            f"{difference:.2g}; expected at most {MAX_DIFFERENCE:g}. Choose another network"
        )
    report = {
        "dimension": served[1].shape[1],
        "tokens": ids.shape[1],
        "max_difference": float(f"{difference:.2g}"),
        "weights": [
            {
                "name": "dual encoder",
                "source": encoder.source,
                "sha256": encoder.sha256,
                "license": parameters.dual_encoder_license,
            }
        ],
    }
    return ExportedDualEncoder(*graphs, encoder.tokenizer, report)


def extract_dual_embeddings(
    images: Table, dual_image_encoder: FileRef, dual_image_embeddings_existing_keys: Keys
) -> Iterator[Rows | KeepOnly]:
    """Compute the vectors of photos that the table lacks.

    Args:
        images: the canonical photos.
        dual_image_encoder: the image tower.
        dual_image_embeddings_existing_keys: keys in the table.

    Yields:
        For the table ``dual_image_embeddings``: the keys to keep, then batches of new rows.

    Raises:
        InsufficientDataError: there are no photos.
    """
    if not len(images):
        raise InsufficientDataError("there are no photos")
    graph = dual_image_encoder.read()
    stage = stage_digest("dual_image_embeddings", REVISION, libraries=LIBRARIES)
    yield from extract_features(
        lambda: graph, images, [sha256(graph), stage], dual_image_embeddings_existing_keys
    )


def _run(graph: bytes, input_name: str, output_name: str, values: Any) -> Any:
    session = open_session(graph, 1, ValueError)
    return session.run([output_name], {input_name: values})[0]
