import pytest
import torch

from fb_marketplace.pipelines.vision.models.backbones import POOL
from fb_marketplace.pipelines.vision.models.network import Network
from fb_marketplace.pipelines.vision.training import checkpoints

METADATA = {
    "history": [{"epoch": 1.0, "training_loss": 0.123456789012345}],
    "what": "größer > kleiner",
}


@pytest.fixture
def make(base_recipe, changed):
    """Makes the parts of a training; another seed gives other weights."""

    def parts(seed=0):
        torch.manual_seed(seed)
        network = Network(changed(base_recipe, seed=seed), classes=3, path_counts=(2, 1, 3))
        return checkpoints.TrainingState(
            network,
            torch.optim.swa_utils.AveragedModel(network),
            torch.optim.AdamW(network.head.parameters(), 0.1),
            network,
        )

    return parts


def train(parts, steps=1):
    for step in range(steps):
        pixels = torch.full((2, 256, 256, 3), 40 * step, dtype=torch.uint8)
        seen = parts.network.head.embed(parts.network.maps(pixels)[POOL])
        loss = parts.network.head.classify(seen)[:, 0].sum()
        parts.optimizer.zero_grad()
        loss.backward()
        parts.optimizer.step()
        parts.average.update_parameters(parts.network)


@pytest.mark.parametrize("part", ["network", "average"])
def test_every_weight_round_trips(make, part):
    remaining, other = make(0), make(1)
    train(remaining, 2)

    checkpoints.restore(checkpoints.to_bytes(remaining, {}), other)

    expected = getattr(remaining, part).state_dict()
    result = getattr(other, part).state_dict()
    assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_optimizer_moments_have_shapes_of_weights(make):
    remaining, other = (_of_all_weights(make(seed)) for seed in (0, 1))
    train(remaining)

    checkpoints.restore(checkpoints.to_bytes(remaining, {}), other)

    result = [
        (weight.stride(), moments["exp_avg"].stride())
        for weight, moments in other.optimizer.state.items()
    ]
    assert any(stride[1] == 1 < stride[2] for stride, _ in result if len(stride) == 4)
    assert all(of_weight == of_moment for of_weight, of_moment in result)


def _of_all_weights(parts):
    network = parts.network.to(memory_format=torch.channels_last)
    return parts._replace(optimizer=torch.optim.AdamW(network.parameters(), 0.1))


def test_restored_moments_continue_equally(make):
    remaining, other = make(0), make(1)
    train(remaining, 2)
    checkpoints.restore(checkpoints.to_bytes(remaining, {}), other)

    train(remaining)
    train(other)

    assert checkpoints.to_bytes(remaining, {}) == checkpoints.to_bytes(other, {})


def test_metadata_round_trips(make):
    remaining = make()

    content = checkpoints.to_bytes(remaining, METADATA)

    assert checkpoints.restore(content, make(1)) == METADATA
    assert checkpoints.read_metadata(content) == METADATA


def test_state_before_first_step_round_trips(make):
    remaining, other = make(0), make(1)

    checkpoints.restore(checkpoints.to_bytes(remaining, {}), other)

    assert checkpoints.to_bytes(other, {}) == checkpoints.to_bytes(remaining, {})


def test_bytes_depend_on_the_state_only(make):
    one, again = make(), make()
    train(one)
    train(again)

    before = checkpoints.to_bytes(one, METADATA)
    assert checkpoints.to_bytes(again, dict(reversed(METADATA.items()))) == before
    train(one)
    assert checkpoints.to_bytes(one, METADATA) != before


def test_saved_state_is_independent_of_training(make):
    remaining = make()
    train(remaining)
    content = checkpoints.to_bytes(remaining, {})
    weight = remaining.network.head.fc.weight.detach().clone()

    train(remaining)
    checkpoints.restore(content, remaining)

    assert torch.equal(remaining.network.head.fc.weight, weight)
