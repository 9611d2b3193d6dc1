import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fb_marketplace.pipelines.vision.training.tensorboard import EVENTS, encode_events

HISTORY = [
    {"epoch": 0.0, "validation_loss": 1.5, "validation_accuracy": 0.25},
    {"epoch": 1.0, "training_loss": 2.0, "validation_loss": 1.0, "validation_accuracy": 0.5},
    {"epoch": 2.0, "training_loss": 1.0, "validation_loss": 0.5, "validation_accuracy": 0.75},
]


@pytest.fixture
def read(tmp_path):
    """Read events like TensorBoard and return steps and values by name."""

    def by_tensorboard(content):
        (tmp_path / EVENTS).write_bytes(content)
        result = EventAccumulator(str(tmp_path)).Reload()
        return {
            name: [(item.step, item.value) for item in result.Scalars(name)]
            for name in result.Tags()["scalars"]
        }

    return by_tensorboard


def test_each_metric_is_shown_at_its_epoch(read):
    assert read(encode_events(HISTORY)) == {
        "training_loss": [(1, 2.0), (2, 1.0)],
        "validation_loss": [(0, 1.5), (1, 1.0), (2, 0.5)],
        "validation_accuracy": [(0, 0.25), (1, 0.5), (2, 0.75)],
    }


def test_training_in_progress_can_be_opened(read):
    assert read(encode_events([])) == {}


def test_longer_history_starts_with_the_shorter():
    shorter, longer = encode_events(HISTORY[:2]), encode_events(HISTORY)

    assert longer.startswith(shorter)
    assert len(longer) > len(shorter)


def test_events_are_deterministic():
    turned = [dict(reversed(epoch.items())) for epoch in HISTORY]

    assert encode_events(turned) == encode_events(HISTORY)
