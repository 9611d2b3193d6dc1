import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained
from fb_marketplace.pipelines.vision.models import timm_networks
from fb_marketplace.pipelines.vision.models.embedding_head import Layer
from fb_marketplace.pipelines.vision.models.network import Network, make_network, network_weights
from fb_marketplace.storage import fingerprints
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table

LABELS = ["Blue", "Green", "Red"]
CHANNELS = {"Red": 0, "Green": 1, "Blue": 2}


class Marketplace(NamedTuple):
    """Photos of listings; the color is the category."""

    images: Table
    products: pd.DataFrame
    splits: pd.DataFrame


@pytest.fixture(scope="session")
def base_recipe(base_parameters) -> VisionParameters:
    """The base recipe, made small: the small network on photos of 64 pixels, in plain float32."""
    return change(
        VisionParameters.model_validate(base_parameters["vision"]),
        backbone="cnn",
        weights="none",
        weights_license="apache-2.0",
        input_side=64,
        min_photos_per_path=4,
        head={"epochs": 8, "batch_size": 16, "learning_rate": 0.1},
        fine_tuning={
            "trainable_blocks": 2,
            "epochs": 2,
            "batch_size": 8,
            "patience": 9,
            "precision": "fp32",
            "workers": 0,
            "augmentation": {
                "crop_size": 64,
                "min_scale": 0.35,
                "max_aspect_ratio": 1.333,
                "hflip_prob": 0.5,
                "color_jitter": 0.2,
            },
        },
        embedding={
            "epochs": 3,
            "num_blocks": 3,
            "second_backbone": None,
            "second_input_side": 64,
            "late_blocks": 0,
            "dimension": 8,
            "max_photos": 1000,
            "listings_per_batch": 4,
        },
        encoder={"calibration_photos": 12},
    )


@pytest.fixture(scope="session")
def changed():
    """Return a recipe with changed values; sections are merged."""
    return change


def change(base_recipe: VisionParameters, **values) -> VisionParameters:
    result = base_recipe.model_dump() | {"weights_license": base_recipe.weights_license}
    for name, value in values.items():
        result[name] = result[name] | value if isinstance(value, dict) else value
    return VisionParameters.model_validate(result)


@pytest.fixture
def update_library(monkeypatch):
    """Return a function that gives an installed library another version, as far as keys are concerned."""

    def update(library: str) -> None:
        installed = fingerprints.version
        monkeypatch.setattr(
            fingerprints, "version", lambda name: "0" if name == library else installed(name)
        )

    return update


@pytest.fixture(scope="session")
def coloured_photo():
    """Draws noise in one colour, over which every photo has a pattern of its own."""

    def draw(category: str, seed: int) -> bytes:
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 90, (6, 8, 3), dtype=np.uint8)
        coarse[..., CHANNELS[category]] += 110
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((64, 48)).save(buffer, "JPEG")
        return buffer.getvalue()

    return draw


@pytest.fixture(scope="session")
def marketplace(tmp_path_factory, store_photos_at, coloured_photo) -> Marketplace:
    """36 photos, one a listing: 24 to train on, 6 to choose by, 6 to test on."""
    categories = [LABELS[place % 3] for place in range(36)]
    result = {
        f"{place:02}": coloured_photo(category, place) for place, category in enumerate(categories)
    }
    product_ids = [f"product of {image_id}" for image_id in result]
    products = pd.DataFrame(
        {
            "product_id": product_ids,
            "category": categories,
            "category_path": [f"{category} > Things" for category in categories],
        }
    )
    splits = pd.DataFrame(
        {
            "image_id": list(result),
            "product_id": product_ids,
            "group": product_ids,
            "split": ["train"] * 24 + ["validation"] * 6 + ["test"] * 6,
            "rule": "rule",
        }
    )
    # In another order than the ids': what belongs together is to be found by id.
    written = dict(reversed(result.items()))
    url = str(tmp_path_factory.mktemp("marketplace") / "images.lance")
    shuffled = splits.sample(frac=1, random_state=0)
    return Marketplace(store_photos_at(url, written), products, shuffled)


@pytest.fixture(scope="session")
def fitted_network(base_recipe) -> Network:
    """A network with random weights whose head was fitted to tell colours, but not surely."""
    created = make_network(base_recipe, classes=3)
    pixels = torch.zeros((3, 256, 256, 3), dtype=torch.uint8)
    for place, channel in enumerate((2, 1, 0)):  # blue, green, red: the labels, sorted
        pixels[place] = 45
        pixels[place, ..., channel] = 155
    with torch.no_grad():
        features = created.head.embed(created.trunk(created.prepare(pixels)))
        features = features - features.mean(0)
        created.head.fc.weight.copy_(features / features.norm(dim=1, keepdim=True))
        created.head.fc.bias.zero_()
    return created


@pytest.fixture(scope="session")
def exported(fitted_network) -> bytes:
    """The same as a graph in ONNX, calibrated to the temperature 0.4."""
    return export_trained(fitted_network, 0.4, Layer(fitted_network, "pool"))


@pytest.fixture(scope="session")
def model(fitted_network, tmp_path_factory) -> FileRef:
    """The same as training keeps it."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    path.write_bytes(save(network_weights(fitted_network)))
    return FileRef(str(path))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A local server with the paths of the Hugging Face Hub, and an empty cache."""
    files = {"missing": (404, "EntryNotFound")}
    timm_networks.download_from_hub.cache_clear()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            content = files.get(self.path)
            status, code = (200, "") if content is not None else files["missing"]
            self.send_response(status)
            if content is None:
                self.send_header("X-Error-Code", code)
                self.end_headers()
                return
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", hashlib.sha256(content).hexdigest()[:40])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield files
    timm_networks.download_from_hub.cache_clear()
    server.shutdown()
    server.server_close()
