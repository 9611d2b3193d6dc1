import errno
import hashlib
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from fb_marketplace.errors import UserError
from fb_marketplace.ml.torchvision_compat import import_timm
from fb_marketplace.pipelines.vision.models import backbones, timm_networks
from fb_marketplace.pipelines.vision.models.embedding_head import block_names, block_slices
from fb_marketplace.pipelines.vision.models.network import make_network
from fb_marketplace.pipelines.vision.models.trunks import TimmTrunk

timm = import_timm()
VIT, CNN = "timm/test_vit.r160_in1k", "timm/test_efficientnet.r160_in1k"
PROJECT = Path(__file__).parents[5]


@pytest.fixture
def timm_recipe(base_recipe, changed):
    """Return a recipe with a network of timm that reads photos of 160 pixels."""

    def make(backbone=VIT, side=160, **values):
        training = base_recipe.fine_tuning.model_dump()
        training["augmentation"]["crop_size"] = side or 160
        values = {"backbone": backbone, "input_side": side, "fine_tuning": training} | values
        return changed(base_recipe, **values)

    return make


@pytest.fixture
def saved(tmp_path):
    """Save the weights of a network of timm, as timm has them; return the parameters that name the file."""

    def save_file(name, classes=5, **values):
        torch.manual_seed(23)
        network = timm.create_model(name.removeprefix("timm/"), num_classes=classes)
        content = save(network.state_dict())
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        named = {"weights": str(path), "weights_sha256": digest, "weights_license": "mit"}
        return network.eval(), named | values

    return save_file


def error_line(function, *arguments) -> str:
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("test_coatnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_resnet"),
        *("test_vit", "test_vit3"),
    ],
)
def test_trunk_equals_the_network(name):
    torch.manual_seed(5)
    network = timm_networks.create_network(f"timm/{name}", 160).eval()
    trunk, photos = TimmTrunk(network), torch.rand(2, 3, 160, 160)

    with torch.no_grad():
        maps = trunk.maps(photos)
        expected = network.forward_head(network.forward_features(photos), pre_logits=True)

    torch.testing.assert_close(maps["pool"], expected)
    assert list(maps) == [*trunk.block_names, "pool"]
    assert all(maps[block].ndim == 4 for block in trunk.block_names)
    assert maps["pool"].shape[1] == timm_networks.count_features(f"timm/{name}", 160)
    grouped = [id(weight) for block in trunk.block_weights() for weight in block]
    assert sorted(grouped) == sorted(id(weight) for weight in network.parameters())


@pytest.mark.parametrize("name", [VIT, CNN])
@pytest.mark.parametrize("classes", [0, 5])
def test_file_with_or_without_classifier_is_loaded(timm_recipe, saved, name, classes):
    network, named = saved(name, classes)
    photos = torch.rand(2, 3, 160, 160)

    trunk = backbones.build_backbone(timm_recipe(name, **named))

    with torch.no_grad():
        expected = network.forward_head(network.forward_features(photos), pre_logits=True)
        torch.testing.assert_close(trunk(photos), expected)


def test_position_embeddings_are_resized(timm_recipe, saved):
    _, named = saved(VIT)

    trunk = backbones.build_backbone(timm_recipe(VIT, 96, **named))

    assert trunk.network.pos_embed.shape[1] == 1 + 6 * 6
    with torch.no_grad():
        assert trunk(torch.rand(1, 3, 96, 96)).shape == (1, 64)


def test_configuration_gives_normalization_and_side(timm_recipe):
    network = make_network(timm_recipe(CNN, None), classes=2)

    white = network.prepare(torch.full((1, 256, 256, 3), 255, dtype=torch.uint8))

    assert white.shape == (1, 3, 160, 160)
    expected = torch.tensor([2.249, 2.429, 2.640])
    torch.testing.assert_close(white.mean(dim=(0, 2, 3)), expected, atol=1e-3, rtol=0)


def test_frozen_blocks_of_a_vit_keep_their_weights(timm_recipe):
    network = make_network(timm_recipe(), classes=2)

    network.freeze(2)
    network.train()

    vit = network.trunk.network
    trained = {name for name, weight in vit.named_parameters() if weight.requires_grad}
    assert {name.split(".")[1] for name in trained if name.startswith("blocks")} == {"4", "5"}
    assert "norm.weight" in trained
    assert "pos_embed" not in trained
    assert [block.training for block in vit.blocks] == [False] * 4 + [True] * 2


def test_blocks_of_a_vit_are_named_and_cut(timm_recipe):
    network = make_network(timm_recipe(), classes=2)
    names = block_names(network, 3)

    assert names == ("block3", "block4", "pool")
    assert block_slices(network, names)["pool"] == slice(128, 192)


def test_unknown_name_lists_similar_ones(timm_recipe):
    for name in ("timm/resnet_50", "timm/test_vit.r161_in1k"):
        line = error_line(backbones.check_backbone, timm_recipe(name))

        assert name.removeprefix("timm/") in line
        assert "such as resnet" in line or "such as test_vit.r160_in1k" in line


def test_impossible_side_names_the_configured_one(timm_recipe):
    line = error_line(backbones.check_backbone, timm_recipe("timm/test_coatnet", 150))

    assert "150 x 150" in line
    assert "vision.input_side to 160" in line


@pytest.mark.parametrize("side", [160, 96])
def test_network_without_feature_maps_is_rejected(timm_recipe, monkeypatch, side):
    network = type(timm.create_model("test_vit"))
    monkeypatch.delattr(network, "group_matcher")
    timm_networks.count_features.cache_clear()

    line = error_line(backbones.check_backbone, timm_recipe(VIT, side))

    assert "group_matcher" in line
    assert "choose a backbone that has feature maps" in line


def test_crops_above_the_own_side_are_rejected(timm_recipe, changed):
    recipe = changed(timm_recipe(CNN, 192), input_side=None)

    line = error_line(backbones.check_backbone, recipe)

    assert "crop_size is 192" in line
    assert "Set crop_size to 160" in line


def test_crops_of_another_side_are_rejected_for_a_vit(base_recipe, changed):
    recipe = changed(base_recipe, backbone=VIT, input_side=160)

    line = error_line(backbones.check_backbone, recipe)

    assert "crop_size is 64" in line
    assert "Set crop_size to 160" in line


def test_file_of_another_network_is_rejected(timm_recipe, saved):
    _, named = saved("timm/test_vit2")

    line = error_line(backbones.build_backbone, timm_recipe(VIT, **named))

    assert "weights.safetensors does not fit timm/test_vit.r160_in1k" in line
    assert "Set vision.backbone" in line


@pytest.mark.parametrize("tensors", [{}, {"teacher": {"cls_token": torch.ones(1, 1, 64)}}])
def test_file_without_tensors_does_not_read_the_hub(timm_recipe, hub, tmp_path, tensors):
    path = tmp_path / "weights.pth"
    torch.save(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    recipe = timm_recipe(weights=str(path), weights_sha256=digest)
    line = error_line(backbones.build_backbone, recipe)

    assert "weights.pth has no tensors" in line


def test_default_weights_that_the_hub_lacks_are_rejected(timm_recipe):
    line = error_line(backbones.check_backbone, timm_recipe("timm/resnet50t", weights="default"))

    assert "no weights of timm/resnet50t in the Hugging Face Hub" in line
    assert "or to none" in line


def test_file_with_other_checksum_is_rejected(timm_recipe, saved):
    _, named = saved(VIT, weights_sha256="0" * 64)

    line = error_line(backbones.build_backbone, timm_recipe(VIT, **named))

    assert "expected 000000000000" in line


@pytest.mark.parametrize("backbone", [VIT, "cnn"])
def test_file_without_license_is_rejected(timm_recipe, saved, backbone):
    _, named = saved(VIT, weights_license=None)

    line = error_line(backbones.check_backbone, timm_recipe(backbone, **named))

    assert "vision.weights_license is missing" in line
    assert "such as apache-2.0" in line


@pytest.mark.parametrize("known", [None, "unknown"])
def test_unknown_license_of_the_hub_is_asked_for(timm_recipe, monkeypatch, known):
    config = timm.get_pretrained_cfg("test_vit.r160_in1k")
    config.license = known
    monkeypatch.setattr(timm_networks, "timm_config", lambda backbone: config)

    recipe = timm_recipe(weights="hub", weights_license=None)
    line = error_line(backbones.check_backbone, recipe)

    assert "vision.weights_license is missing" in line


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_hub_weights_are_loaded_and_described(timm_recipe, saved, hub, tmp_path, file):
    network, _ = saved(VIT, 1000)
    if file.endswith(".bin"):
        torch.save(network.state_dict(), tmp_path / "state")
    content = Path(tmp_path, "state" if file.endswith(".bin") else "weights.safetensors")
    hub[f"/timm/test_vit.r160_in1k/resolve/main/{file}"] = content.read_bytes()
    recipe = timm_recipe(weights="default", weights_license=None)

    trunk = backbones.build_backbone(recipe)

    assert torch.equal(trunk.network.pos_embed, network.pos_embed)
    assert backbones.describe_weights(recipe) == [
        {
            "name": VIT,
            "source": "https://huggingface.co/timm/test_vit.r160_in1k",
            "sha256": hashlib.sha256(content.read_bytes()).hexdigest(),
            "license": "apache-2.0",
        }
    ]


def test_hub_weights_with_other_checksum_are_rejected(timm_recipe, saved, hub, tmp_path):
    saved(VIT)
    content = Path(tmp_path, "weights.safetensors").read_bytes()
    hub["/timm/test_vit.r160_in1k/resolve/main/model.safetensors"] = content

    line = error_line(backbones.build_backbone, timm_recipe(weights="hub", weights_sha256="0" * 64))

    assert "expected 000000000000" in line
    assert "check vision.weights_sha256" in line


@pytest.fixture
def hub_file(saved, hub, tmp_path):
    """Put the weights of a vision transformer in the hub; return the function that replaces them."""

    def put(classes, file="model.safetensors"):
        saved(VIT, classes)
        content = Path(tmp_path, "weights.safetensors").read_bytes()
        hub[f"/timm/test_vit.r160_in1k/resolve/main/{file}"] = content
        return hashlib.sha256(content).hexdigest()

    return put


def test_changed_hub_weights_have_another_origin(timm_recipe, hub_file):
    recipe, digest = timm_recipe(weights="hub"), hub_file(5)
    origin = backbones.origin_of_weights(recipe)
    changed_digest = hub_file(6)

    assert backbones.origin_of_weights(recipe) == origin == digest
    timm_networks.download_from_hub.cache_clear()  # a later process
    assert backbones.origin_of_weights(recipe) == changed_digest != digest


def test_pinned_hub_weights_have_the_origin_of_unpinned(timm_recipe, hub_file):
    digest = hub_file(5)
    pinned = timm_recipe(weights="hub", weights_sha256=digest.upper())

    assert backbones.origin_of_weights(pinned) == digest
    assert backbones.origin_of_weights(timm_recipe(weights="hub")) == digest


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_cached_weights_are_read_offline(timm_recipe, hub, hub_file, monkeypatch, file):
    recipe, digest = timm_recipe(weights="hub"), hub_file(5, file)
    assert backbones.origin_of_weights(recipe) == digest
    timm_networks.download_from_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert backbones.origin_of_weights(recipe) == digest


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "GatedRepo", "accept the terms"),
        (401, "RepoNotFound", "hf auth login"),
        (404, "EntryNotFound", "the hub answered 404"),
        (503, "", "the hub answered 503"),
    ],
)
def test_refusal_of_the_hub_has_its_own_remedy(timm_recipe, hub, status, code, remedy, monkeypatch):
    hub["missing"] = (status, code)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # The client retries for half a minute.

    line = error_line(backbones.build_backbone, timm_recipe(weights="hub"))

    assert remedy in line
    assert "without a network" not in line


def test_full_disk_names_the_cache_of_the_hub(timm_recipe, hub, hub_file, monkeypatch):
    hub_file(5)

    def fail(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)

    line = error_line(backbones.build_backbone, timm_recipe(weights="hub"))

    assert "No space left on device" in line
    assert constants.HF_HUB_CACHE in line
    assert "without a network" not in line


def test_offline_hub_gives_one_line(timm_recipe, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    line = error_line(backbones.build_backbone, timm_recipe(weights="hub"))

    assert "https://huggingface.co/timm/test_vit.r160_in1k" in line
    assert "set vision.weights to a file" in line


def test_trained_network_does_not_need_the_hub(timm_recipe):
    recipe = timm_recipe(weights="hub").model_copy(update={"weights": "none"})

    assert backbones.describe_weights(recipe) == []
    assert backbones.origin_of_weights(recipe) == "seed 0"


def test_names_in_docs_exist_in_timm():
    files = [PROJECT / "README.md", *PROJECT.glob("docs/*.md"), *PROJECT.glob("conf/*/*.yml")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    names = {name for text in texts for name in re.findall(r"\btimm/[a-z0-9_.]+\b", text)}

    assert names
    for name in sorted(names):
        config = timm_networks.timm_config(name)
        assert config.hf_hub_id, name
        assert config.license, name
