"""PyTorch dataset, batch sampler and loader over the photos of the lake.

This module imports torch, so pipeline nodes import it inside functions.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from fb_marketplace.compute.training_group import TrainingGroup
from fb_marketplace.parameters.vision import AugmentationParameters
from fb_marketplace.pipelines.vision.data.augmentation import augment
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content


class SampleRef(NamedTuple):
    """A photo to load: the epoch, and the position among the rows of the dataset."""

    epoch: int
    position: int


class Batch(NamedTuple):
    """Loaded photos.

    Attributes:
        pixels: uint8, (n, 256, 256, 3); (n, side, side, 3) if augmented.
        positions: int64, (n,), among the rows of the dataset.
    """

    pixels: torch.Tensor
    positions: torch.Tensor


class PhotoDataset(Dataset[Batch]):
    """Canonical photos at given rows of the table ``images``.

    Augmentation depends on seed, epoch and position only, not on the number or order of workers.
    """

    def __init__(
        self,
        images: Table,
        rows: Sequence[int],
        augmentation: AugmentationParameters | None = None,
        seed: int = 0,
    ) -> None:
        """Create the dataset.

        Args:
            images: the canonical photos.
            rows: positions in the table.
            augmentation: parameters of the augmentation; None loads photos as the encoder sees them.
            seed: seed of the augmentation.
        """
        self._images, self._rows = images, list(rows)
        self._augmentation, self._seed = augmentation, seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, sample: SampleRef) -> Batch:
        return self.__getitems__([sample])

    def __getitems__(self, samples: Sequence[SampleRef]) -> Batch:
        """Load several photos with one read of the table."""
        rows = [self._rows[sample.position] for sample in samples]
        jpegs = self._images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
        photos = [self._load(jpeg, sample) for jpeg, sample in zip(jpegs, samples, strict=True)]
        positions = torch.tensor([sample.position for sample in samples])
        return Batch(torch.from_numpy(np.stack(photos)), positions)

    def _load(self, jpeg: bytes, sample: SampleRef) -> NDArray[np.uint8]:
        pixels = canonical.decode_canonical(jpeg)
        if self._augmentation is None:
            return stretch_content(pixels)
        generator = np.random.default_rng([self._seed, sample.epoch, sample.position])
        return augment(pixels, generator, self._augmentation)


class BatchSampler(Sampler[list[SampleRef]]):
    """Batches of an epoch; the order depends on seed and epoch only."""

    def __init__(
        self,
        photos: int,
        batch_size: int,
        seed: int | None,
        group: TrainingGroup = TrainingGroup(),  # noqa: B008 - immutable
    ) -> None:
        """Create the sampler.

        Args:
            photos: number of photos.
            batch_size: photos per batch.
            seed: seed of the shuffle. None keeps the order and the incomplete last batch. With a seed, an
                incomplete last batch is dropped: batch normalization over one or two photos does harm.
            group: the processes that share each batch.
        """
        super().__init__()
        self.epoch = 0
        self._photos, self._batch_size, self._seed = photos, min(batch_size, photos), seed
        self._group = group

    def __len__(self) -> int:
        full, rest = divmod(self._photos, self._batch_size)
        return full if self._seed is not None else full + bool(rest)

    def __iter__(self) -> Iterator[list[SampleRef]]:
        order = np.arange(self._photos)
        if self._seed is not None:
            np.random.default_rng([self._seed, self.epoch]).shuffle(order)
        for batch in range(len(self)):
            cut = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            own = cut[self._group.part(len(cut))]
            yield [SampleRef(self.epoch, int(position)) for position in own]


def make_loader(dataset: PhotoDataset, batches: BatchSampler, workers: int) -> "DataLoader[Batch]":
    """Build a loader.

    Args:
        dataset: the photos.
        batches: the batches of an epoch.
        workers: number of loader processes; 0 loads in this process. They are spawned, because Lance does
            not survive a fork, and stay alive for all epochs.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_identity,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_limit_torch_threads,
        generator=torch.Generator(),  # its own: loading must not advance torch's global one
    )


def _identity(batch: Any) -> Any:
    return batch


def _limit_torch_threads(_: int) -> None:
    torch.set_num_threads(1)
