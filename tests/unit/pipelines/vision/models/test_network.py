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
def network(request, told, changed):
    return make_network(changed(told, backbone=request.param), classes=4)


def test_a_network_gives_what_its_head_says_of_the_pooled_features(network, pixels):
    with torch.no_grad():
        logits = network(pixels)
        seen = network.head.embed(network.maps(pixels)["pool"])

    assert logits.shape == (3, 4)
    assert seen.shape == (3, network.head.dimension)
    torch.testing.assert_close(logits, network.head.classify(seen))


def test_the_head_of_resnet50_sees_its_hidden_layer(told, changed, pixels):
    network = make_network(changed(told, backbone="resnet50"), classes=4)
    seen = []
    network.head.fc[1].register_forward_hook(lambda layer, given, made: seen.append(made))

    with torch.no_grad():
        embedded = network.head.embed(network.maps(pixels)["pool"])

    assert network.head.dimension == 1000
    torch.testing.assert_close(embedded, seen[0])


def test_without_a_hidden_layer_the_head_sees_the_pooled_features_at_one_length(told, pixels):
    network = make_network(told, classes=4)

    with torch.no_grad():
        pooled = network.trunk(network.prepare(pixels))
        embedded = network.head.embed(pooled)

    torch.testing.assert_close(embedded, 8 * pooled / pooled.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("backbone", "lowest", "highest"),
    [("cnn", [-1] * 3, [1] * 3), ("resnet50", [-2.118, -2.036, -1.804], [2.249, 2.429, 2.64])],
)
def test_pixels_come_to_the_scale_that_the_backbone_expects(
    told, changed, backbone, lowest, highest
):
    network = make_network(changed(told, backbone=backbone), classes=2)
    black, white = (
        network.prepare(torch.full((1, SIDE, SIDE, 3), value, dtype=torch.uint8))
        for value in (0, 255)
    )

    assert black.shape == (1, 3, 64, 64)
    for prepared, expected in ((black, lowest), (white, highest)):
        torch.testing.assert_close(
            prepared.mean(dim=(0, 2, 3)), torch.tensor(expected).float(), atol=1e-3, rtol=0
        )


def test_a_photo_keeps_its_colours_and_its_place_when_it_is_resized(told):
    network = make_network(told, classes=2)
    photo = torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8)
    photo[0, :128, :, 0] = 255  # the upper half is red

    prepared = network.prepare(photo)[0]

    torch.testing.assert_close(prepared[:, 10, 10], torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(prepared[:, 50, 10], torch.tensor([-1.0, -1.0, -1.0]))


@pytest.mark.parametrize(("trained", "frozen"), [(-1, 0), (0, 5), (2, 3), (5, 0), (99, 0)])
def test_the_last_blocks_are_trained_and_those_before_are_frozen(told, changed, trained, frozen):
    network = make_network(changed(told, backbone="resnet50"), classes=2)
    names = ["stem", "layer1", "layer2", "layer3", "layer4", "pool"]
    children = dict(network.trunk.named_children())

    parts = network.blocks(trained)

    assert [[name for name in names if children[name] in part] for part in parts] == [
        names[:frozen],
        names[frozen:],
    ]


def test_a_network_that_is_loaded_answers_as_the_one_that_was_kept(told, changed, pixels):
    kept = make_network(changed(told, seed=5), classes=4)
    # Its weights come from the file alone: the source of the backbone's is not asked.
    elsewhere = changed(told, weights="/gone/weights.pth", weights_sha256="0" * 64)

    loaded = load_network(elsewhere, 4, network_weights(kept))

    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), kept(pixels), atol=0, rtol=0)


def test_weights_that_were_taken_do_not_change_with_the_network(told):
    network = make_network(told, classes=4)
    taken = network_weights(network)
    before = {name: value.clone() for name, value in taken.items()}

    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)

    assert all(torch.equal(taken[name], before[name]) for name in before)


def test_random_weights_are_those_of_the_seed(told, changed):
    one, again, other = (
        make_network(changed(told, seed=seed), classes=4).head.fc.weight for seed in (3, 3, 4)
    )

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
