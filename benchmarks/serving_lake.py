"""A lake with a release of ResNet50, and photos to upload."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from photos_of_sample import sample_photos, uploads
from serving_original import LABELS, resnet50
from training import recipe

from fb_marketplace.pipelines.listings.listing_features import (
    build_descriptions,
    build_listing_cards,
)
from fb_marketplace.pipelines.release.build_manifest import describe_release
from fb_marketplace.pipelines.release.pack_photos import pack_photos, write_photo_files
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
from fb_marketplace.pipelines.vision.export.quantization import quantize
from fb_marketplace.pipelines.vision.models.backbones import HIDDEN
from fb_marketplace.pipelines.vision.models.embedding_head import Layer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.storage.lake import Lake

UPLOADS: Final = 64


def make_lake(folder: Path, precision: str) -> Path:
    """Create a lake with a release and a folder ``uploads``.

    Args:
        folder: an empty folder.
        precision: precision of the graph, fp32 or int8.
    """
    parameters = recipe("resnet50", blocks=1).model_copy(update={"input_side": 224})
    (folder / "parameters.json").write_text(parameters.model_dump_json())
    network = resnet50(parameters)
    graph = export_trained(network, 1.0, Layer(network, HIDDEN))
    images = sample_photos(folder, UPLOADS)
    if precision == "int8":
        graph = quantize(graph, images, list(range(len(images))))
    (folder / "uploads").mkdir()
    for name, content in uploads(UPLOADS):
        (folder / "uploads" / name).write_bytes(content)
    publish_release(folder, images, graph)
    return folder


def publish_release(folder: Path, images: Table, graph: bytes) -> None:
    """Publish a release with one listing per photo."""
    rows = images.take(range(len(images)), ["image_id", "jpeg"])
    ids = rows.column("image_id").to_pylist()
    pixels = np.stack(
        [canonical.decode_canonical(jpeg) for jpeg in rows.column("jpeg").to_pylist()]
    )
    embeddings = Encoder.from_bytes(graph).encode(pixels).embeddings
    index_bytes, ids_bytes = Index.build_flat(embeddings, ids, ids).to_bytes()
    listed = ("A thing", 1.0, "GBP", LABELS[0], LABELS[0], None, None)
    products = pd.DataFrame([Listing(name, *listed) for name in ids], columns=list(Listing._fields))
    contents = {
        "encoder.onnx": graph,
        "image_index": index_bytes,
        "image_index_ids": ids_bytes,
        "listings": build_listing_cards(products),
        "descriptions": build_descriptions(products.assign(description="A thing for sale.")),
        "release_photos": pack_photos(images),
        "release_display_photos": pack_photos(images),
        "release_measures": b"",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    files = {name: FileRef(str(folder / name)) for name in contents}
    (folder / FOLDER).mkdir(parents=True)
    sizes = {}
    for file in write_photo_files(images, files["release_photos"], {}):
        (folder / FOLDER / file.name).write_bytes(file.data)
        sizes[file.name] = len(file.data)
    manifest = describe_release(
        lake=Lake(str(folder)),
        files={
            "encoder": files["encoder.onnx"],
            "image_index": files["image_index"],
            "image_index_ids": files["image_index_ids"],
            "listings": files["listings"],
            "descriptions": files["descriptions"],
            "release_photos": files["release_photos"],
            "release_display_photos": files["release_display_photos"],
            "release_measures": files["release_measures"],
        },
        photo_files=sizes,
        abstention={"photos": {"threshold": 0.5, "error": 0.05}},
        labels=list(LABELS),
        images=images,
        content_digests={"products": "", "images": ""},
        metrics={},
        num_canaries=1,
    )
    publish(Lake(str(folder)), manifest.model_copy(update={"version": "v1"}))
