"""Photos per second in training, compared with a plain loop over the same model, blocks and batch size.

The plain loop is that of tutorials: fp32, PyTorch's default layout, no worker processes, photos decoded in
the loop. Ours computes in bf16 if supported, channels last, and decodes and augments in a worker process. A
second plain loop with channels last shows the share of the layout. The linear probe trains on cached
features; computing them is not counted, as it happens once for all epochs.

Expected before the first run: 1.5x for the recommended recipe, whose frozen blocks gain most from bf16, and
2x for ResNet50, whose convolutions are dense; the linear probe about 10,000x, with 2,000 instead of 200,000
numbers per photo. Without bf16 the recipe gains as much by the layout, and ResNet50 little.
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
from fb_marketplace.pipelines.vision.models.backbones import get_backbone
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
"""The real listings have 198 paths in 13 categories."""
MODELS = {
    "efficientnet_lite2": "last 5 blocks, as recommended",
    "resnet50": "last 2 blocks",
}


def main() -> None:
    """Print photos per second of both loops, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=256, help="photos per round")
    parser.add_argument("--backbones", nargs="+", default=list(MODELS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = sample_photos(Path(folder), args.photos)
        print(f"{'':52} {'plain/s':>8} {'ours/s':>8} {'ratio':>7}")
        for backbone in args.backbones:
            description = MODELS[backbone]
            parameters = recipe(backbone, blocks=5 if backbone != "resnet50" else 2)
            compare(f"{backbone}, {description}", images, parameters)


def compare(name: str, images: Table, parameters: VisionParameters) -> None:
    """Time both loops in rounds, then the linear probe on features of as many photos."""
    task = planted_task(images)
    plain = plain_loop(task, parameters, torch.contiguous_format)
    last = plain_loop(task, parameters, torch.channels_last)
    ours = our_loop(task, parameters)
    plain(), last(), ours()  # the first round starts processes and fills caches
    rates = [(plain(), last(), ours()) for _ in range(ROUNDS)]
    print_ratio(name, [(slow, our) for slow, _, our in rates])
    print_ratio("  of it: the plain loop, channels last", [(slow, own) for slow, own, _ in rates])
    head = linear_probe(len(task.rows), parameters)
    print_ratio(f"{backbone_of(name)}, linear probe", [(slow, head()) for slow, _, _ in rates])


def backbone_of(name: str) -> str:
    """Return the first part of the name of a row."""
    return name.partition(",")[0]


def our_loop(task: TrainingTask, parameters: VisionParameters) -> Callable[[], float]:
    """Return a function that trains an epoch our way and returns photos per second."""
    state = make_training_state(random_head(parameters), parameters)
    config = parameters.fine_tuning
    batches = BatchSampler(len(task.rows), config.batch_size, parameters.seed)
    dataset = PhotoDataset(task.images, task.rows.tolist(), config.augmentation, parameters.seed)
    loader = make_loader(dataset, batches, config.workers)

    def epoch() -> float:
        started = time.perf_counter()
        with reuse_freed_memory():
            train_epoch(state, task, loader, 1, parameters)
        return len(batches) * config.batch_size / (time.perf_counter() - started)

    return epoch


def plain_loop(
    task: TrainingTask, parameters: VisionParameters, layout: torch.memory_format
) -> Callable[[], float]:
    """Return the plain loop over the same photos and blocks."""
    network, config = make_network(parameters, CLASSES), parameters.fine_tuning
    backbone = get_backbone(parameters)
    network.to(memory_format=layout)  # type: ignore[call-overload]
    network.freeze(config.trainable_blocks)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, config.learning_rate)
    loss_function = torch.nn.CrossEntropyLoss()
    steps = len(task.rows) // config.batch_size
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    side = backbone.side

    def as_tensor(jpeg: bytes) -> torch.Tensor:
        # As torchvision's ToTensor and Normalize: one channel after the other in memory.
        photo = Image.fromarray(canonical.decode_canonical(jpeg)).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        channels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()
        return (channels.float() / 255 - mean) / std

    def logits(jpegs: list[bytes]) -> torch.Tensor:
        photos = torch.stack([*map(as_tensor, jpegs)]).contiguous(memory_format=layout)
        output: torch.Tensor = network.head(network.trunk(photos))
        return output

    def epoch() -> float:
        started = time.perf_counter()
        network.train()
        order = np.random.default_rng(0).permutation(len(task.rows))
        for step in range(steps):
            positions = order[step * config.batch_size : (step + 1) * config.batch_size]
            rows = task.rows[positions].tolist()
            jpegs = task.images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
            loss = loss_function(logits(jpegs), torch.from_numpy(task.classes[positions]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return steps * config.batch_size / (time.perf_counter() - started)

    return epoch


def linear_probe(photos: int, parameters: VisionParameters) -> Callable[[], float]:
    """Return a function that trains the linear probe and returns photos per second over its epochs."""
    width = make_head(parameters, CLASSES).fc
    features = width.in_features if hasattr(width, "in_features") else width[0].in_features
    generator = np.random.default_rng(0)
    count = 8 * photos
    classes = generator.integers(CLASSES, size=count)
    data = FeatureSet(
        generator.normal(size=(count, features)).astype(np.float32),
        classes,
        np.where(np.arange(count) % 8 == 0, "validation", "train"),
        np.arange(count).astype(str),
        tuple(f"class {number}" for number in range(CLASSES)),
        np.arange(count).astype(str),
        np.arange(count).astype(str),
        planted_paths(classes),
    )

    def training() -> float:
        started = time.perf_counter()
        train_head(data, parameters)
        seconds = time.perf_counter() - started
        return parameters.head.epochs * int((data.split == "train").sum()) / seconds

    return training


def planted_task(images: Table) -> TrainingTask:
    """Return photos with random classes, which do not change the speed."""
    rows = np.arange(len(images))
    generator = np.random.default_rng(0)
    classes = generator.integers(CLASSES, size=len(rows))
    return TrainingTask(images, rows, classes, planted_paths(classes), rows[:1], classes[:1])


def planted_paths(classes: np.ndarray) -> CategoryPaths:
    """Return random paths, as many as the recipe learns of the real listings."""
    paths = np.random.default_rng(1).integers(PATHS, size=len(classes))
    return CategoryPaths(classes * PATHS + paths, (PATHS,) * CLASSES)


def random_head(parameters: VisionParameters) -> HeadWeights:
    """Return a head with random weights."""
    labels = tuple(f"class {number}" for number in range(CLASSES))
    counts = (PATHS,) * CLASSES
    return HeadWeights(network_weights(make_head(parameters, CLASSES, counts)), labels)


def recipe(backbone: str, blocks: int) -> VisionParameters:
    """Return the recommended recipe with another backbone and random weights."""
    import yaml

    path = Path(__file__).parents[1] / "conf/base/parameters_vision.yml"
    values = yaml.safe_load(path.read_text())["vision"]
    values["backbone"], values["weights"] = backbone, "none"
    # The plain loop does not crop: both train at the same side.
    values["input_side"] = values["fine_tuning"]["augmentation"]["crop_size"]
    values["fine_tuning"] |= {"trainable_blocks": blocks, "batch_size": 32}
    return VisionParameters.model_validate(values)


def print_ratio(name: str, rates: list[tuple[float, float]]) -> None:
    """Print the medians, and the median over rounds of the ratio within a round."""
    plain, ours = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(after / before for before, after in rates)
    print(f"{name:52} {plain:8.1f} {ours:8.1f} {ratio:6.2f}x", flush=True)


if __name__ == "__main__":
    main()
