"""Photos a second in training, beside the plain loop: same model, same blocks trained, same batch.

The plain loop is what tutorials show: fp32, PyTorch's default layout, no processes that read, photos
decoded in the loop. Ours computes in bf16 where the machine does, channels last, and decodes and
augments in a process of its own; what of its gain is the layout, a second plain loop tells. The head
alone trains on features that the backbone gave once, which is counted apart: the features are made
once for all epochs.

Expected before it was measured: 1.5x for the recommended recipe, whose frozen blocks gain most from
bf16, and 2x for ResNet50, whose convolutions are dense; the head alone some 10,000x, since 2,000
numbers a photo are left of 200,000. Without bf16 the recipe gains as much by the layout, which its
depthwise convolutions need, and ResNet50 little.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from photos_of_sample import sample_photos
from PIL import Image

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler, PhotoDataset, make_loader
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.backbones import BACKBONES
from fb_marketplace.pipelines.vision.models.network import make_head, make_network, network_weights
from fb_marketplace.pipelines.vision.training.fine_tuning import make_training_state
from fb_marketplace.pipelines.vision.training.linear_probe import (
    FeatureSet,
    HeadWeights,
    train_head,
)
from fb_marketplace.pipelines.vision.training.malloc import reuse_freed_memory
from fb_marketplace.pipelines.vision.training.train_loop import train_epoch
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical

ROUNDS = 3
CLASSES, PATHS = 13, 15
"""Of the real listings 13 have 198 between them."""
MODELS = {
    "efficientnet_lite2": "last 5 blocks, as recommended",
    "resnet50": "last 2 blocks",
}


def main() -> None:
    """Print photos a second of both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=256, help="photos in a round")
    parser.add_argument("--backbones", nargs="+", default=list(MODELS))
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = sample_photos(Path(folder), told.photos)
        print(f"{'':52} {'plain/s':>8} {'ours/s':>8} {'ratio':>7}")
        for backbone in told.backbones:
            what = MODELS[backbone]
            parameters = recipe(backbone, blocks=5 if backbone != "resnet50" else 2)
            compare(f"{backbone}, {what}", images, parameters)


def compare(name: str, images: Table, parameters: VisionParameters) -> None:
    """Time both ways in turn, round by round, then the head alone on features of the same photos."""
    task = planted_task(images)
    plain = plain_way(task, parameters, torch.contiguous_format)
    last = plain_way(task, parameters, torch.channels_last)
    ours = our_way(task, parameters)
    plain(), last(), ours()  # the first round starts processes and fills caches
    rates = [(plain(), last(), ours()) for _ in range(ROUNDS)]
    print_ratio(name, [(slow, our) for slow, _, our in rates])
    print_ratio("  of it: the plain loop, channels last", [(slow, own) for slow, own, _ in rates])
    head = head_alone(len(task.rows), parameters)
    print_ratio(f"{backbone_of(name)}, the head alone", [(slow, head()) for slow, _, _ in rates])


def backbone_of(name: str) -> str:
    """Give the first part of a row's name."""
    return name.partition(",")[0]


def our_way(task: TrainingTask, parameters: VisionParameters) -> Callable[[], float]:
    """Make what trains an epoch our way and gives photos a second."""
    parts = make_training_state(random_head(parameters), parameters)
    told = parameters.fine_tuning
    batches = BatchSampler(len(task.rows), told.batch_size, parameters.seed)
    dataset = PhotoDataset(task.images, task.rows.tolist(), told.augmentation, parameters.seed)
    reading = make_loader(dataset, batches, told.workers)

    def epoch() -> float:
        started = time.perf_counter()
        with reuse_freed_memory():
            train_epoch(parts, task, reading, 1, parameters)
        return len(batches) * told.batch_size / (time.perf_counter() - started)

    return epoch


def plain_way(
    task: TrainingTask, parameters: VisionParameters, layout: torch.memory_format
) -> Callable[[], float]:
    """Make the loop of the tutorials, over the same photos and the same blocks."""
    network, told = make_network(parameters, CLASSES), parameters.fine_tuning
    known = BACKBONES[parameters.backbone]
    network.to(memory_format=layout)  # type: ignore[call-overload]
    frozen, trained = network.blocks(told.trainable_blocks)
    for block in frozen:
        block.requires_grad_(False)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, told.learning_rate)
    loss_of = torch.nn.CrossEntropyLoss()
    steps = len(task.rows) // told.batch_size
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (known.mean, known.std))
    side = parameters.input_side

    def as_tensor(jpeg: bytes) -> torch.Tensor:
        # As torchvision's ToTensor does, then Normalize: the memory of a channel lies together.
        photo = Image.fromarray(canonical.decode_canonical(jpeg)).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        channels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()
        return (channels.float() / 255 - mean) / std

    def answer(jpegs: list[bytes]) -> torch.Tensor:
        photos = torch.stack([*map(as_tensor, jpegs)]).contiguous(memory_format=layout)
        logits: torch.Tensor = network.head(network.trunk(photos))
        return logits

    def epoch() -> float:
        started = time.perf_counter()
        network.eval()
        for module in (*trained, network.head):
            module.train()
        order = np.random.default_rng(0).permutation(len(task.rows))
        for step in range(steps):
            places = order[step * told.batch_size : (step + 1) * told.batch_size]
            rows = task.rows[places].tolist()
            jpegs = task.images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
            loss = loss_of(answer(jpegs), torch.from_numpy(task.classes[places]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return steps * told.batch_size / (time.perf_counter() - started)

    return epoch


def head_alone(photos: int, parameters: VisionParameters) -> Callable[[], float]:
    """Make what trains the head alone on as many features, and gives photos a second over its epochs."""
    width = make_head(parameters, CLASSES).fc
    features = width.in_features if hasattr(width, "in_features") else width[0].in_features
    generator = np.random.default_rng(0)
    count = 8 * photos
    classes = generator.integers(CLASSES, size=count)
    found = FeatureSet(
        generator.normal(size=(count, features)).astype(np.float32),
        classes,
        np.where(np.arange(count) % 8 == 0, "validation", "train"),
        np.arange(count).astype(str),
        tuple(f"class {place}" for place in range(CLASSES)),
        np.arange(count).astype(str),
        np.arange(count).astype(str),
        planted_paths(classes),
    )

    def training() -> float:
        started = time.perf_counter()
        train_head(found, parameters)
        seconds = time.perf_counter() - started
        return parameters.head.epochs * int((found.split == "train").sum()) / seconds

    return training


def planted_task(images: Table) -> TrainingTask:
    """Give photos any classes: what they are makes no difference to the speed."""
    rows = np.arange(len(images))
    generator = np.random.default_rng(0)
    classes = generator.integers(CLASSES, size=len(rows))
    return TrainingTask(images, rows, classes, planted_paths(classes), rows[:1], classes[:1])


def planted_paths(classes: np.ndarray) -> CategoryPaths:
    """Give photos any path of their class, of as many as the recipe tells apart of real listings."""
    paths = np.random.default_rng(1).integers(PATHS, size=len(classes))
    return CategoryPaths(classes * PATHS + paths, (PATHS,) * CLASSES)


def random_head(parameters: VisionParameters) -> HeadWeights:
    """Give a head that knows nothing."""
    labels = tuple(f"class {place}" for place in range(CLASSES))
    counts = (PATHS,) * CLASSES
    return HeadWeights(network_weights(make_head(parameters, CLASSES, counts)), labels)


def recipe(backbone: str, blocks: int) -> VisionParameters:
    """Give the recommended recipe with another backbone and random weights: speed does not see them."""
    import yaml

    path = Path(__file__).parents[1] / "conf/base/parameters_vision.yml"
    told = yaml.safe_load(path.read_text())["vision"]
    told["backbone"], told["weights"] = backbone, "none"
    # The plain way has whole photos: both train at one side.
    told["input_side"] = told["fine_tuning"]["augmentation"]["crop_size"]
    told["fine_tuning"] |= {"trainable_blocks": blocks, "batch_size": 32}
    return VisionParameters.model_validate(told)


def print_ratio(name: str, rates: list[tuple[float, float]]) -> None:
    """Print the medians, and the median over rounds of the ratio within a round."""
    plain, ours = (statistics.median(each) for each in zip(*rates, strict=True))
    ratio = statistics.median(after / before for before, after in rates)
    print(f"{name:52} {plain:8.1f} {ours:8.1f} {ratio:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
