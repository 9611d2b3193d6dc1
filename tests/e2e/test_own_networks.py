"""A transformer of timm and an encoder of the user, from files: trained, released, served."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
import torch
import yaml
from onnx import parser
from safetensors.torch import save
from support.kedro_project import PROJECT, Run, serving
from support.killed_runs import copy_lake, json_of

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models import timm_networks
from fb_marketplace.pipelines.vision.models.network import load_trained_network
from fb_marketplace.pipelines.vision.training.train_embedding import embedding_layer
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content

pytestmark = pytest.mark.slow

BACKBONE = "timm/test_vit.r160_in1k"
COLORS = """
<ir_version: 8, opset_import: ["" : 17]>
colors (float[n,3,64,64] image) => (float[n,3] color) {
  starts = Constant<value_ints = [24, 24]>()
  ends = Constant<value_ints = [40, 40]>()
  axes = Constant<value_ints = [2, 3]>()
  middle = Slice(image, starts, ends, axes)
  mean = AveragePool<kernel_shape = [16, 16]>(middle)
  color = Flatten(mean)
}"""
"""The color in the middle of a photo, where the thing for sale is."""


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The parameters of the test environment, with both networks from files."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(29)
    weights = timm_networks.create_network(BACKBONE, 160).state_dict()
    files = {
        "vit.safetensors": save(weights),
        "colors.onnx": parser.parse_model(COLORS).SerializeToString(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    values = yaml.safe_load((PROJECT / "conf/test/parameters_vision.yml").read_text())
    values["vision"] |= {
        "backbone": BACKBONE,
        # Random features, so that the colors are worth a weight.
        "embedding": {"layer": "pool", "epochs": 0},
        "weights": str(folder / "vit.safetensors"),
        "weights_sha256": sha256(files["vit.safetensors"]),
        "weights_license": "apache-2.0",
        "external_encoder": {
            "onnx": (folder / "colors.onnx").as_uri(),
            "sha256": hashlib.sha256(files["colors.onnx"]).hexdigest(),
            "license": "cc0-1.0",
            "input_side": 64,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "output": "color",
        },
    }
    return values


@pytest.fixture(scope="module")
def run(
    whole_run: Run, parameters: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """A run with both networks, on a copy of the lake of the full run."""
    conf = whole_run.place.clone / "conf" / "own"
    shutil.copytree(conf.parent / "test", conf)
    (conf / "parameters_vision.yml").write_text(yaml.safe_dump(parameters))
    with copy_lake(whole_run.place, tmp_path_factory.mktemp("own"), "checkpoints") as copy:
        place = replace(copy, configuration="own")
        yield Run(place, place.run("--params=release.compare_with_current=false", recompute=False))
    shutil.rmtree(conf)


def test_served_encoder_equals_the_networks(run: Run) -> None:
    place, version = run.place, run.version
    values = place.records()[version]["parameters"]["vision"]
    recipe = VisionParameters.model_validate(values)
    content, labels = place.read("vision_model", version), run.json("vision_labels")
    network = load_trained_network(content, len(labels), recipe)
    layer = embedding_layer(network, sha256(content), place.read("embedding_head", version), recipe)
    jpegs = place.photo_table().to_table(["jpeg"], limit=4)["jpeg"].to_pylist()
    pixels = np.stack([canonical.decode_canonical(jpeg) for jpeg in jpegs])

    served = Encoder.from_bytes(place.read("encoder", version), threads=1).encode(pixels)

    with torch.no_grad():
        maps = network.maps(torch.from_numpy(np.stack([*map(stretch_content, pixels)])))
        hidden = network.head.embed(maps["pool"])
        trained = layer(maps, hidden).numpy()
        logits = network.head.classify(hidden) / run.json("calibration")["temperature"]
    selection = run.json("external_encoder_selection")
    weight = selection["weight"]
    assert 0 < weight < 1, selection
    assert served.embeddings.shape[1] == trained.shape[1] + 3
    np.testing.assert_allclose(served.probabilities, logits.softmax(1).numpy(), atol=1e-4)
    own = served.embeddings[:, : trained.shape[1]]
    np.testing.assert_allclose(own, trained * (1 - weight) ** 0.5, atol=1e-4)


def test_release_names_sources_and_licenses(run: Run) -> None:
    manifest = json_of(run.place, f"releases/{run.version}.json")

    assert [(one["name"], one["source"], one["license"]) for one in manifest["weights"]] == [
        (BACKBONE, "file vit.safetensors", "apache-2.0"),
        ("external encoder", "file colors.onnx", "cc0-1.0"),
    ]
    card = run.place.read("model_card", run.version).decode()
    assert "licence apache-2.0; external encoder, from file colors.onnx" in card


def test_release_is_searched_by_photo_and_words(run: Run) -> None:
    photo = run.place.photo_table().to_table(["image_id", "jpeg"], limit=1).to_pylist()[0]
    files = {"image": ("photo.jpg", photo["jpeg"])}

    with serving(run.place) as server:
        similar = httpx.post(f"{server}/predict/similar_images", files=files).json()
        results = httpx.post(f"{server}/search?q=table", files=files).json()

    assert similar["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert results["hits"]
