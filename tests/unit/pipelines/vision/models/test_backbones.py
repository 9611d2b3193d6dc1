import pytest
import torch
from huggingface_hub import constants

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.models import backbones


def test_unknown_backbone_names_known_ones(base_recipe, changed):
    with pytest.raises(UserError, match=r"'resnet5000'.*\bcnn, resnet50, "):
        backbones.check_backbone(changed(base_recipe, backbone="resnet5000"))


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_backbone_has_declared_feature_count(base_recipe, changed, name):
    network = backbones.build_backbone(changed(base_recipe, backbone=name))

    with torch.no_grad():
        features = network(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, backbones.BACKBONES[name].features)
    assert not network.training


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("resnet50", "fc"), ("mobilenet_v2", "classifier"), ("efficientnet_lite0", "classifier")],
)
def test_blocks_equal_library_network(base_recipe, changed, name, classifier):
    created = changed(base_recipe, backbone=name)
    torch.manual_seed(created.seed)
    complete = backbones.BACKBONES[name].make().eval()
    setattr(complete, classifier, torch.nn.Identity())
    pixels = torch.rand(2, 3, 64, 64)

    with torch.no_grad():
        torch.testing.assert_close(backbones.build_backbone(created)(pixels), complete(pixels))


def test_pooling_follows_the_blocks(base_recipe, changed):
    network = backbones.build_backbone(changed(base_recipe, backbone="resnet50"))

    assert [name for name, _ in network.named_children()] == [
        *("stem", "layer1", "layer2", "layer3", "layer4", "pool")
    ]


def test_random_weights_depend_on_the_seed(base_recipe, changed):
    one, again, other = (
        backbones.build_backbone(changed(base_recipe, seed=seed)).state_dict() for seed in (3, 3, 4)
    )

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_build_does_not_touch_torch_random_state(base_recipe):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    backbones.build_backbone(base_recipe)

    assert torch.equal(torch.rand(3), expected)


def test_packaged_weights_do_not_depend_on_the_seed(base_recipe, changed):
    one, other = (
        backbones.build_backbone(
            changed(base_recipe, backbone="efficientnet_lite0", weights="package", seed=seed)
        ).state_dict()
        for seed in (3, 4)
    )

    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        ({"backbone": "cnn", "weights": "default", "seed": 7}, "seed 7"),
        ({"backbone": "resnet50", "weights": "default"}, "ResNet50_Weights.IMAGENET1K_V2"),
        ({"backbone": "efficientnet_lite0", "weights": "default"}, "579344248a93"),
        ({"backbone": "efficientnet_lite0", "weights": "package"}, "579344248a93"),
        ({"weights": "somewhere/weights.pth", "weights_sha256": "ab" * 32}, "ab" * 32),
    ],
)
def test_weights_have_a_content_name(base_recipe, changed, values, origin):
    assert backbones.origin_of_weights(changed(base_recipe, **values)).startswith(origin)


def test_weights_of_a_second_backbone_without_head_are_not_described(base_recipe, changed):
    recipe = changed(
        base_recipe, embedding={"second_backbone": "efficientnet_lite0", "layer": "pool"}
    )

    assert backbones.describe_weights(recipe) == []


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("cnn", 64, r"'cnn'; expected one of resnet50, .*null"),
        ("resnet5000", 64, r"'resnet5000'; expected one of resnet50, .*null"),
        ("timm/resnet5000", 64, r"'timm/resnet5000', but timm .* such as .*"),
        ("timm/botnet50ts_256", 256, "timm has no weights of timm/botnet50ts_256"),
        ("timm/cpubone_b0_bfrobust.r224_in1k", 224, "states no licence"),
        ("timm/resnet18", 64, "could not be downloaded .* or to null"),
        ("timm/test_coatnet", 150, "second_input_side to 160"),
    ],
)
def test_second_backbone_is_checked(
    base_recipe, changed, monkeypatch, tmp_path, name, side, expected
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    values = {"second_backbone": name, "second_input_side": side}

    with pytest.raises(UserError, match=expected) as error:
        backbones.check_second_backbone(changed(base_recipe, embedding=values))

    assert "vision.backbone" not in str(error.value)
    assert "vision.input_side" not in str(error.value)
    assert "vision.weights" not in str(error.value)
    # It is not built for a layer that does not need it.
    backbones.check_second_backbone(changed(base_recipe, embedding=values | {"layer": "pool"}))


def test_weights_of_both_backbones_are_described(base_recipe, changed):
    recipe = changed(
        base_recipe,
        backbone="efficientnet_lite2",
        weights="default",
        embedding={"second_backbone": "efficientnet_lite0"},
    )

    described = backbones.describe_weights(recipe)

    assert [entry["name"] for entry in described] == ["efficientnet_lite2", "efficientnet_lite0"]
    assert [entry["license"] for entry in described] == ["apache-2.0", "Apache-2.0"]
