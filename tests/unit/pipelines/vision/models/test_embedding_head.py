import pytest
import torch

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.models.embedding_head import (
    EmbeddingHead,
    JoinedHeads,
    Layer,
    block_names,
    block_slices,
    generalized_mean_pool,
    head_parts,
    make_second_backbone,
    pool_blocks,
)
from fb_marketplace.pipelines.vision.models.network import make_network


@pytest.fixture
def maps(fitted_network):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8)
    with torch.no_grad():
        return fitted_network.maps(pixels)


def test_generalized_mean_is_between_mean_and_maximum():
    level = torch.rand(2, 3, 4, 4)

    torch.testing.assert_close(generalized_mean_pool(level, 1.0), level.mean((2, 3)))
    torch.testing.assert_close(
        generalized_mean_pool(level, 200.0), level.amax((2, 3)), rtol=0.02, atol=0
    )


def test_generalized_mean_clips_negative_values():
    level = torch.tensor([[[[-5.0, 2.0], [0.0, 0.0]]]])

    torch.testing.assert_close(
        generalized_mean_pool(level, 2.0), torch.tensor([[1.0]]), atol=1e-4, rtol=0
    )


def test_last_level_is_the_classifier_input(fitted_network, maps):
    names = block_names(fitted_network, 3)
    levels = pool_blocks(maps, names, 3.0)
    cuts = block_slices(fitted_network, names)

    assert names == ("block2", "block3", "pool")
    torch.testing.assert_close(levels[:, cuts["pool"]], maps["pool"])
    torch.testing.assert_close(
        levels[:, cuts["block3"]], generalized_mean_pool(maps["block3"], 3.0)
    )
    assert levels.shape[1] == cuts["pool"].stop


def test_too_many_levels_use_all(fitted_network):
    assert block_names(fitted_network, 99)[:2] == ("block0", "block1")


def test_block_embedding_is_normalized_mean(fitted_network, maps):
    result = Layer(fitted_network, "block4")(maps, torch.zeros(2, 1))

    means = maps["block4"].mean((2, 3))
    torch.testing.assert_close(result, means / means.norm(dim=1, keepdim=True))


def test_head_output_has_unit_norm():
    result = EmbeddingHead(6, 4)(torch.randn(5, 6))

    torch.testing.assert_close(result.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize(
    ("layer", "told_of"),
    [
        ("block9", r"'block9'.*metric, block0, .*pool"),
        ("fc.1", r"'fc\.1'.*resnet50"),
        ("metric", r"'metric'.*vision\.embedding\.epochs"),
    ],
)
def test_unknown_layer_names_known_ones(fitted_network, layer, told_of):
    with pytest.raises(UserError, match=told_of):
        Layer(fitted_network, layer)


def test_resnet50_lists_its_hidden_layer(base_recipe, changed):
    network = make_network(changed(base_recipe, backbone="resnet50"), classes=3)

    with pytest.raises(UserError, match=r"layer4, pool, fc\.1"):
        Layer(network, "block4")


@pytest.mark.parametrize(
    ("values", "widths", "weights"),
    [
        ({"late_blocks": 0}, [576], [1]),
        ({"late_blocks": 1, "late_weight": 0.2}, [320, 256], [0.8, 0.2]),
        ({"late_blocks": 3}, [576], [1]),
        ({"late_blocks": 0, "second_backbone": "cnn"}, [576, 576], [0.5, 0.5]),
        (
            {"late_blocks": 1, "late_weight": 0.2, "second_backbone": "cnn"},
            [320, 256, 320, 256],
            [0.4, 0.1, 0.4, 0.1],
        ),
    ],
)
def test_head_parts_are_early_and_late_blocks(base_recipe, changed, values, widths, weights):
    parts = head_parts(changed(base_recipe, embedding=values))

    assert [part.width for part in parts] == widths
    assert [part.weight for part in parts] == pytest.approx(weights)


def test_joined_heads_have_unit_norm():
    result = JoinedHeads([6, 2], 4)(torch.randn(5, 8))

    assert result.shape == (5, 4)
    torch.testing.assert_close(result.norm(dim=1), torch.ones(5))


def test_second_backbone_pools_its_last_blocks(base_recipe, changed):
    recipe = changed(base_recipe, embedding={"second_backbone": "cnn"})
    network = make_network(recipe, classes=1)
    pixels = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8)

    with torch.no_grad():
        result = make_second_backbone(recipe)(pixels)
        expected = pool_blocks(network.maps(pixels), block_names(network, 3), 1.0)

    torch.testing.assert_close(result, expected)
    assert make_second_backbone(base_recipe) is None
