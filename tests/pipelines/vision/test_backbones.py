import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision import backbones


def test_an_unknown_backbone_is_told_with_those_that_there_are():
    with pytest.raises(
        UserError, match=r"no backbone 'resnet5000'; there are .*efficientnet_lite0"
    ):
        backbones.check("resnet5000", "none")


def test_an_unknown_source_of_weights_is_told_with_those_that_there_are():
    with pytest.raises(UserError, match=r"package or none; found 'internet'"):
        backbones.check("efficientnet_lite0", "internet")


@pytest.fixture
def lite(monkeypatch):
    """Changes what is known of a backbone."""

    def change(**values):
        changed = backbones.BACKBONES["efficientnet_lite0"]._replace(**values)
        monkeypatch.setitem(backbones.BACKBONES, "efficientnet_lite0", changed)

    return change


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"sha256": "0" * 64}, "has the digest 579344248a93…, expected 000000000000…"),
        ({"package": "no_such_weights"}, "no-such-weights, which is not installed"),
    ],
)
def test_weights_that_are_not_those_expected_are_told_in_one_line(lite, known, told):
    lite(**known)

    with pytest.raises(UserError, match=told) as error:
        backbones.build("efficientnet_lite0", "package", 0)
    assert "\n" not in str(error.value)


def test_a_backbone_gives_pooled_features_as_many_as_it_says():
    import torch

    network = backbones.build("efficientnet_lite0", "package", 0)

    with torch.no_grad():
        features = network(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, backbones.BACKBONES["efficientnet_lite0"].features)
    assert not network.training


def test_random_weights_are_those_of_their_seed():
    import torch

    one, again, other = (
        backbones.build("efficientnet_lite0", "none", seed).state_dict() for seed in (3, 3, 4)
    )

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_weights_of_the_package_are_the_same_whatever_the_seed():
    import torch

    one, other = (
        backbones.build("efficientnet_lite0", "package", seed).state_dict() for seed in (3, 4)
    )

    assert all(torch.equal(one[name], other[name]) for name in one)
