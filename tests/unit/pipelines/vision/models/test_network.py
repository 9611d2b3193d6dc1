import numpy as np
import pytest
import torch

from fb_marketplace.pipelines.vision.models.network import (
    load_network,
    make_network,
    network_weights,
)
from fb_marketplace_serving.imaging.canonical import SIDE


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(1)
    return torch.from_numpy(random.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=["cnn", "resnet50"])
def network(request, base_recipe, changed):
    return make_network(changed(base_recipe, backbone=request.param), classes=4)


def test_network_output_equals_head_of_pooled_features(network, pixels):
    with torch.no_grad():
        logits = network(pixels)
        seen = network.head.embed(network.maps(pixels)["pool"])

    assert logits.shape == (3, 4)
    assert seen.shape == (3, network.head.dimension)
    torch.testing.assert_close(logits, network.head.classify(seen))


def test_resnet50_head_uses_its_hidden_layer(base_recipe, changed, pixels):
    network = make_network(changed(base_recipe, backbone="resnet50"), classes=4)
    seen = []
    network.head.fc[1].register_forward_hook(lambda layer, given, created: seen.append(created))

    with torch.no_grad():
        embedded = network.head.embed(network.maps(pixels)["pool"])

    assert network.head.dimension == 1000
    torch.testing.assert_close(embedded, seen[0])


def test_head_without_hidden_layer_uses_normalized_features(base_recipe, pixels):
    network = make_network(base_recipe, classes=4)

    with torch.no_grad():
        pooled = network.trunk(network.prepare(pixels))
        embedded = network.head.embed(pooled)

    torch.testing.assert_close(embedded, 8 * pooled / pooled.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("backbone", "lowest", "highest"),
    [("cnn", [-1] * 3, [1] * 3), ("resnet50", [-2.118, -2.036, -1.804], [2.249, 2.429, 2.64])],
)
def test_pixels_are_normalized_for_the_backbone(base_recipe, changed, backbone, lowest, highest):
    network = make_network(changed(base_recipe, backbone=backbone), classes=2)
    black, white = (
        network.prepare(torch.full((1, SIDE, SIDE, 3), value, dtype=torch.uint8))
        for value in (0, 255)
    )

    assert black.shape == (1, 3, 64, 64)
    for prepared, expected in ((black, lowest), (white, highest)):
        torch.testing.assert_close(
            prepared.mean(dim=(0, 2, 3)), torch.tensor(expected).float(), atol=1e-3, rtol=0
        )


def test_resizing_keeps_colors_and_positions(base_recipe):
    network = make_network(base_recipe, classes=2)
    photo = torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8)
    photo[0, :128, :, 0] = 255  # the upper half is red

    prepared = network.prepare(photo)[0]

    torch.testing.assert_close(prepared[:, 10, 10], torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(prepared[:, 50, 10], torch.tensor([-1.0, -1.0, -1.0]))


@pytest.mark.parametrize(("trained", "frozen"), [(-1, 0), (0, 5), (2, 3), (5, 0), (99, 0)])
def test_last_blocks_are_trained_and_others_frozen(base_recipe, changed, trained, frozen):
    network = make_network(changed(base_recipe, backbone="resnet50"), classes=2)
    names = ["stem", "layer1", "layer2", "layer3", "layer4", "pool"]
    children = dict(network.trunk.named_children())

    network.freeze(trained)
    network.train()

    for name in names[:frozen]:
        assert not any(weight.requires_grad for weight in children[name].parameters())
        assert not any(module.training for module in children[name].modules())
    for name in names[frozen:-1]:
        assert all(weight.requires_grad for weight in children[name].parameters())
        assert all(module.training for module in children[name].modules())


def test_loaded_network_equals_saved_one(base_recipe, changed, pixels):
    remaining = make_network(changed(base_recipe, seed=5), classes=4)
    # Its weights come from the file alone: the source of the backbone's is not asked.
    elsewhere = changed(base_recipe, weights="/gone/weights.pth", weights_sha256="0" * 64)

    loaded = load_network(elsewhere, 4, network_weights(remaining))

    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), remaining(pixels), atol=0, rtol=0)


def test_extracted_weights_are_independent_copies(base_recipe):
    network = make_network(base_recipe, classes=4)
    taken = network_weights(network)
    before = {name: value.clone() for name, value in taken.items()}

    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)

    assert all(torch.equal(taken[name], before[name]) for name in before)


def test_random_weights_depend_on_the_seed(base_recipe, changed):
    one, again, other = (
        make_network(changed(base_recipe, seed=seed), classes=4).head.fc.weight
        for seed in (3, 3, 4)
    )

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
