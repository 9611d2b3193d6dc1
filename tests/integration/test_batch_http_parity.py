"""A raw upload gets the same answers by batch, through the pipelines' own steps, as by HTTP."""

import http.client
import io
import json
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.datasets.content_addressed import ContentAddressedDataset
from fb_marketplace.datasets.release import ReleaseDataset
from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.cleaning.photos import image_product_ids, read_photos
from fb_marketplace.pipelines.embeddings.embed_images import embed_images, plan_image_embeddings
from fb_marketplace.pipelines.indexing.build_index import build_image_index, select_image_index
from fb_marketplace.pipelines.listings.listing_features import (
    build_descriptions,
    build_listing_cards,
)
from fb_marketplace.pipelines.release.build_manifest import describe_release
from fb_marketplace.pipelines.release.pack_photos import pack_photos, write_photo_files
from fb_marketplace.sample.photo_files import render_photo_file
from fb_marketplace.sample.records import Form, generate_listings, generate_photo
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS, IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef, existing_sizes
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.storage.lake import Lake

pytestmark = pytest.mark.slow

SEED = 11
PHOTOS = 100
CLOSE = 1e-5
LABELS = ["Bikes", "Chairs", "Lamps", "Tables"]
HITS = 10


def drawn(size, seed, mode="RGB"):
    """Draw a picture that its neighbours, its mirror image and its turns differ from."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def written(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def turned(way):
    exif = Image.Exif()
    exif[0x0112] = way
    return exif.tobytes()


def of_every_kind():
    """Draw photos like those of phones, scanners, editors and sites."""
    result = {
        f"{format_} turned {way}": written(drawn((90, 60), way), format_, exif=turned(way))
        for format_ in ("JPEG", "PNG", "WEBP")
        for way in range(2, 9)
    }
    grey = np.linspace(0, 65_535, 90 * 60).reshape(60, 90).astype(np.uint16)
    result |= {
        "PNG of 12 megapixels": written(drawn((4000, 3000), 40), "PNG", compress_level=1),
        "JPEG of 12 megapixels, turned": written(
            drawn((4000, 3000), 41), "JPEG", exif=turned(6), quality=80
        ),
        "progressive": written(drawn((900, 700), 42), "JPEG", progressive=True),
        "CMYK": written(drawn((300, 200), 43, "CMYK"), "JPEG"),
        "grey": written(drawn((300, 200), 44, "L"), "JPEG"),
        "alpha": written(drawn((300, 200), 45, "RGBA"), "PNG"),
        "alpha in WebP": written(drawn((300, 200), 46, "RGBA"), "WEBP"),
        "alpha, lossless": written(drawn((300, 200), 47, "RGBA"), "WEBP", lossless=True),
        "grey and alpha": written(drawn((300, 200), 48, "LA"), "PNG"),
        "palette": written(drawn((300, 200), 49).quantize(40), "PNG"),
        "palette with transparency": written(
            drawn((300, 200), 50).quantize(40), "PNG", transparency=3
        ),
        "16 bits": written(Image.fromarray(grey), "PNG"),
        "1 bit": written(drawn((300, 200), 51, "1"), "PNG"),
        "tiny": written(drawn((3, 2), 52), "PNG"),
        "one pixel": written(drawn((1, 1), 53), "JPEG"),
        "wide": written(drawn((5000, 3), 54), "JPEG"),
        "high": written(drawn((2, 3000), 55), "PNG"),
        "canonical in size": written(drawn((256, 256), 56), "JPEG", quality=90),
    }
    return result


@pytest.fixture(scope="module")
def uploads():
    """A hundred of them, by id: two are the same file, and what there is room for is the sample's."""
    result = of_every_kind()
    result["the same again"] = result["progressive"]
    # Of twelve megapixels there are enough, and drawing one takes a second; placeholders are alike.
    forms = [form for form in get_args(Form) if form not in {"twelve_megapixel", "placeholder"}]
    random = Random(SEED)
    for number, listing in enumerate(generate_listings(SEED, PHOTOS - len(result))):
        photo = generate_photo(SEED, listing, 0)
        photo.form, photo.variant = forms[number % len(forms)], random.randrange(6)
        result[f"{photo.form} {photo.id}"] = render_photo_file(SEED, photo)
    assert len(result) == PHOTOS
    return result


@pytest.fixture(scope="module")
def graph(base_parameters):
    """A small network with random weights, exported as every network is: resizing is inside."""
    import torch

    from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
    from fb_marketplace.pipelines.vision.models.backbones import POOL
    from fb_marketplace.pipelines.vision.models.embedding_head import Layer
    from fb_marketplace.pipelines.vision.models.network import make_network

    values = base_parameters["vision"] | {"backbone": "cnn", "weights": "none"}
    torch.manual_seed(SEED)
    network = make_network(VisionParameters.model_validate(values), len(LABELS)).eval()
    return export_trained(network, 0.1, Layer(network, POOL))


@pytest.fixture
def released(tmp_path, uploads, graph, cleaning, base_parameters):
    """A release of the uploads and its embeddings by photo."""
    images = clean(tmp_path, uploads, cleaning)
    products = image_product_ids(images)
    files = {"encoder": graph}
    (tmp_path / "encoder").write_bytes(graph)
    stored = {"encoder": FileRef(str(tmp_path / "encoder"))}
    embeddings = vectors(tmp_path, images, stored["encoder"], base_parameters)
    parameters = IndexParameters.model_validate(base_parameters["indexing"])
    selection = select_image_index(embeddings, parameters)
    built = build_image_index(embeddings, products, selection, parameters)
    files |= {
        "image_index": built.vectors,
        "image_index_ids": built.ids,
        "listings": build_listing_cards(listings(products["product_id"])),
        "descriptions": build_descriptions(listings(products["product_id"])),
        "release_photos": pack_photos(images),
        "release_display_photos": pack_photos(images),
        "release_measures": b"case by case",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        stored[name] = FileRef(str(tmp_path / name))
    folder = ContentAddressedDataset(str(tmp_path / FOLDER))
    for file in write_photo_files(images, stored["release_photos"], {}):
        folder.save(file)
    manifest = describe_release(
        lake=Lake(str(tmp_path)),
        files={
            "encoder": stored["encoder"],
            "image_index": stored["image_index"],
            "image_index_ids": stored["image_index_ids"],
            "listings": stored["listings"],
            "descriptions": stored["descriptions"],
            "release_photos": stored["release_photos"],
            "release_display_photos": stored["release_display_photos"],
            "release_measures": stored["release_measures"],
        },
        photo_files=existing_sizes(str(tmp_path / FOLDER)),
        abstention={"photos": {"threshold": 0.5, "error": 0.05}},
        labels=LABELS,
        images=images,
        content_digests={"products": "abc", "images": "def"},
        metrics={},
        num_canaries=base_parameters["release"]["canaries"],
    )
    publish(tmp_path, manifest)
    rows = embeddings.read(["image_id", "probabilities", "embedding"]).to_pylist()
    return (
        tmp_path,
        {row["image_id"]: row for row in rows},
        Index.from_bytes(built.vectors, built.ids),
    )


def publish(lake, manifest):
    from kedro.io import Version

    ReleaseDataset(str(lake), Version(None, "v1")).save(manifest)


def clean(lake, uploads, cleaning):
    """Put the uploads into a bucket, and read them as cleaning does."""
    folder = lake / "raw"
    folder.mkdir()
    for image_id, data in uploads.items():
        (folder / f"{image_id}.jpg").write_bytes(data)
    files = {file.key: file for file in PhotoSource(str(folder)).files()}
    matched = pd.DataFrame(
        [
            {
                "row": row,
                "image_id": image_id,
                "product_id": f"listing of {image_id}",
                "repeated_in": [],
                "source_key": f"{image_id}.jpg",
                "source_size": files[f"{image_id}.jpg"].size,
                "source_etag": files[f"{image_id}.jpg"].etag,
            }
            for row, image_id in enumerate(uploads)
        ]
    )
    url = str(lake / "images.lance")
    keyed_table.ensure_table(url, IMAGES)
    one_process = cleaning.photos.model_copy(update={"processes": 1, "photos_per_batch": 16})
    values = cleaning.model_copy(update={"photos": one_process})
    nothing = frozenset()
    source = PhotoSource(str(folder))
    _, *batches = read_photos(matched, source, nothing, nothing, nothing, values)
    for usable, unusable, _ in batches:
        assert unusable.to_pylist() == []
        table_writer.insert(url, usable)
    return keyed_table.open_table(url)


def vectors(lake, images, encoder, base_parameters):
    url = str(lake / "embeddings.lance")
    keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
    keys = plan_image_embeddings(images, encoder, frozenset())
    values = EmbeddingParameters.model_validate(base_parameters["embeddings"])
    _, *batches = embed_images(images, encoder, keys, values)
    for batch in batches:
        table_writer.insert(url, batch)
    return keyed_table.open_table(url)


def listings(product_ids):
    visible = {"currency": "GBP", "category": "Home", "category_path": "Home / Chairs"}
    return pd.DataFrame(
        {"product_id": product_ids, "title": "A chair", "description": "Sit.", "price": 1.0}
    ).assign(**visible, town=None, county=None, price_flag=None, created_at=None)


class Asked:
    """The answers of a server."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __call__(self, path: str, photo: bytes) -> Any:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", path, head + photo + b"\r\n--x--\r\n", kind)
        response = connection.getresponse()
        body = json.load(response)
        assert response.status == 200, body
        return body


def test_batch_and_http_answer_100_uploads_alike(released, serve, uploads):
    lake, batch, index = released
    process = serve(
        "--lake", str(lake), "--port", "0", FB_LOG_LEVEL="error", FB_REQUEST_TIMEOUT_SECONDS="60"
    )
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    ask = Asked(ready.split()[-1].removeprefix("http://"))

    def ask_all(photo):
        return (
            ask("/predict/image", photo)["probabilities"],
            ask("/predict/feature_embedding", photo)["embedding"],
            ask(f"/predict/similar_images?limit={HITS}", photo)["hits"],
        )

    with ThreadPoolExecutor(4) as clients:  # so that photos meet in batches
        answers = dict(zip(uploads, clients.map(ask_all, uploads.values()), strict=True))

    assert len(answers) == PHOTOS == len(batch)
    for image_id, (probabilities, embedding, hits) in answers.items():
        existing = batch[image_id]
        assert list(probabilities) == LABELS
        np.testing.assert_allclose(
            list(probabilities.values()), existing["probabilities"], atol=CLOSE, err_msg=image_id
        )
        np.testing.assert_allclose(embedding, existing["embedding"], atol=CLOSE, err_msg=image_id)
        rows = index.search(np.float32(existing["embedding"]), HITS).rows
        assert [hit["image_id"] for hit in hits] == [index.image_ids[row] for row in rows], image_id


def test_uploads_have_different_answers(released):
    """Or the same answers would say nothing."""
    _, batch, _ = released
    existing = np.array([row["embedding"] for row in batch.values()])
    separate = np.linalg.norm(existing[:, None] - existing[None], axis=2)
    separate[np.diag_indices(len(existing))] = np.inf

    assert np.median(separate.min(axis=1)) > 100 * CLOSE
    assert (separate.min(axis=1) < CLOSE).sum() == 2, "one photo is there twice"
