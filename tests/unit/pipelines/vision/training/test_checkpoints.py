import pytest
import torch

from fb_marketplace.pipelines.vision.models.backbones import POOL
from fb_marketplace.pipelines.vision.models.network import Network
from fb_marketplace.pipelines.vision.training import checkpoints

FACTS = {
    "history": [{"epoch": 1.0, "training_loss": 0.123456789012345}],
    "what": "größer > kleiner",
}


@pytest.fixture
def make(told, changed):
    """Makes the parts of a training; another seed gives other weights."""

    def parts(seed=0):
        torch.manual_seed(seed)
        network = Network(changed(told, seed=seed), classes=3, path_counts=(2, 1, 3))
        return checkpoints.TrainingState(
            network,
            torch.optim.swa_utils.AveragedModel(network),
            torch.optim.AdamW(network.head.parameters(), 0.1),
        )

    return parts


def train(parts, steps=1):
    for step in range(steps):
        pixels = torch.full((2, 256, 256, 3), 40 * step, dtype=torch.uint8)
        seen = parts.network.head.embed(parts.network.maps(pixels)[POOL])
        loss = parts.network.head.classify(seen)[:, 0].sum()
        parts.optimiser.zero_grad()
        loss.backward()
        parts.optimiser.step()
        parts.average.update_parameters(parts.network)


@pytest.mark.parametrize("part", ["network", "average"])
def test_every_weight_round_trips(make, part):
    kept, other = make(0), make(1)
    train(kept, 2)

    checkpoints.restore(checkpoints.to_bytes(kept, {}), other)

    expected = getattr(kept, part).state_dict()
    found = getattr(other, part).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_optimizer_moments_have_shapes_of_weights(make):
    kept, other = (_of_all_weights(make(seed)) for seed in (0, 1))
    train(kept)

    checkpoints.restore(checkpoints.to_bytes(kept, {}), other)

    found = [
        (weight.stride(), moments["exp_avg"].stride())
        for weight, moments in other.optimiser.state.items()
    ]
    assert any(stride[1] == 1 < stride[2] for stride, _ in found if len(stride) == 4)
    assert all(of_weight == of_moment for of_weight, of_moment in found)


def _of_all_weights(parts):
    network = parts.network.to(memory_format=torch.channels_last)
    return parts._replace(optimiser=torch.optim.AdamW(network.parameters(), 0.1))


def test_restored_moments_continue_equally(make):
    kept, other = make(0), make(1)
    train(kept, 2)
    checkpoints.restore(checkpoints.to_bytes(kept, {}), other)

    train(kept)
    train(other)

    assert checkpoints.to_bytes(kept, {}) == checkpoints.to_bytes(other, {})


def test_metadata_round_trips(make):
    kept = make()

    content = checkpoints.to_bytes(kept, FACTS)

    assert checkpoints.restore(content, make(1)) == FACTS
    assert checkpoints.read_metadata(content) == FACTS


def test_state_before_first_step_round_trips(make):
    kept, other = make(0), make(1)

    checkpoints.restore(checkpoints.to_bytes(kept, {}), other)

    assert checkpoints.to_bytes(other, {}) == checkpoints.to_bytes(kept, {})


def test_bytes_depend_on_the_state_only(make):
    one, again = make(), make()
    train(one)
    train(again)

    before = checkpoints.to_bytes(one, FACTS)
    assert checkpoints.to_bytes(again, dict(reversed(FACTS.items()))) == before
    train(one)
    assert checkpoints.to_bytes(one, FACTS) != before


def test_saved_state_is_independent_of_training(make):
    kept = make()
    train(kept)
    content = checkpoints.to_bytes(kept, {})
    weight = kept.network.head.fc.weight.detach().clone()

    train(kept)
    checkpoints.restore(content, kept)

    assert torch.equal(kept.network.head.fc.weight, weight)
