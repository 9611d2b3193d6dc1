import io

import pytest
from PIL import Image

from fb_marketplace.pipelines.vision.training.learning_curves import (
    plot_embedding_curve,
    plot_learning_curves,
    write_events,
)
from fb_marketplace.pipelines.vision.training.tensorboard import encode_events

HEAD = [
    {
        "stage": "head",
        "epoch": epoch,
        "training_loss": 2 / epoch,
        "validation_loss": 1 / epoch,
        "validation_accuracy": 1 - 0.5 / epoch,
    }
    for epoch in (1, 2, 3)
]
BEGINNING = [
    {"stage": "fine_tuning", "epoch": 0.0, "validation_loss": 0.4, "validation_accuracy": 0.8}
]
FINE_TUNING = [
    *BEGINNING,
    {
        "stage": "fine_tuning",
        "epoch": 1.0,
        "training_loss": 0.9,
        "learning_rate": 1e-4,
        "validation_loss": 0.2,
        "validation_accuracy": 0.9,
    },
]
BLENDS = [
    {"stage": "interpolation", "share": share, "validation_loss": 0.1, "validation_accuracy": 0.95}
    for share in (0.3, 0.7)
]


@pytest.mark.parametrize("fine_tuning", [BEGINNING, FINE_TUNING, FINE_TUNING + BLENDS])
def test_figure_works_with_and_without_fine_tuning(fine_tuning):
    drawn = plot_learning_curves(HEAD + fine_tuning)

    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10, "something is drawn"


def test_figure_depends_on_the_history():
    histories = (BEGINNING, FINE_TUNING, FINE_TUNING + BLENDS)

    assert len({plot_learning_curves(HEAD + history) for history in histories}) == 3


def test_embedding_figure_works_without_head():
    begun = [{"epoch": 0, "validation_recall_at_1": 0.4}]
    trained = [*begun, {"epoch": 1, "training_loss": 0.9, "validation_recall_at_1": 0.5}]

    drawn = [plot_embedding_curve(history) for history in ([], begun, trained)]

    assert len(set(drawn)) == 3
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)


def test_events_are_of_fine_tuning_only():
    measures = [
        {name: value for name, value in epoch.items() if name != "stage"} for epoch in FINE_TUNING
    ]

    assert write_events(HEAD + FINE_TUNING + BLENDS) == encode_events(measures)
