"""Photos of the lake as PyTorch reads them: at random, in batches, by processes of their own.

Imported only by the functions that train, as it imports torch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from fb_marketplace.parameters.vision import AugmentationParameters
from fb_marketplace.pipelines.vision.data.augmentation import augment
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical


class SampleRef(NamedTuple):
    """A photo to read: its place among the rows of the dataset, and the epoch that asks for it."""

    epoch: int
    place: int


class Batch(NamedTuple):
    """Photos that were read.

    Attributes:
        pixels: uint8, (n, 256, 256, 3); changed for training, (n, side, side, 3).
        places: int64, (n,), of each among the rows of the dataset.
    """

    pixels: torch.Tensor
    places: torch.Tensor


class PhotoDataset(Dataset[Batch]):
    """Canonical photos at the given rows of the table ``images``, read where they lie.

    What augmentation does to a photo follows from the seed, the epoch and its place alone: not from
    how many processes read, or in which order.
    """

    def __init__(
        self,
        images: Table,
        rows: Sequence[int],
        augmentation: AugmentationParameters | None = None,
        seed: int = 0,
    ) -> None:
        """Name the photos.

        Args:
            images: the canonical photos.
            rows: positions in the table.
            augmentation: how photos are changed; without it they are given as they are.
            seed: of the changes.
        """
        self._images, self._rows = images, list(rows)
        self._augmentation, self._seed = augmentation, seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, drawn: SampleRef) -> Batch:
        return self.__getitems__([drawn])

    def __getitems__(self, drawn: Sequence[SampleRef]) -> Batch:
        """Read several photos by one access to the table."""
        rows = [self._rows[each.place] for each in drawn]
        jpegs = self._images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
        read = [self._read(jpeg, each) for jpeg, each in zip(jpegs, drawn, strict=True)]
        places = torch.tensor([each.place for each in drawn])
        return Batch(torch.from_numpy(np.stack(read)), places)

    def _read(self, jpeg: bytes, drawn: SampleRef) -> NDArray[np.uint8]:
        pixels = canonical.decode_canonical(jpeg)
        if self._augmentation is None:
            return pixels
        generator = np.random.default_rng([self._seed, drawn.epoch, drawn.place])
        return augment(pixels, generator, self._augmentation)


class BatchSampler(Sampler[list[SampleRef]]):
    """Which photos make up each batch of an epoch; the order follows from seed and epoch alone."""

    def __init__(self, photos: int, batch_size: int, seed: int | None) -> None:
        """Cut photos into batches.

        Args:
            photos: how many there are.
            batch_size: photos in a batch.
            seed: of the order; without one, photos come as they are, the last batch as it falls.
                Shuffled, the last batch is left out where there are others: its size is another,
                and batch normalisation over one or two photos does harm.
        """
        super().__init__()
        self.epoch = 0
        self._photos, self._batch_size, self._seed = photos, min(batch_size, photos), seed

    def __len__(self) -> int:
        whole, left = divmod(self._photos, self._batch_size)
        return whole if self._seed is not None else whole + bool(left)

    def __iter__(self) -> Iterator[list[SampleRef]]:
        order = np.arange(self._photos)
        if self._seed is not None:
            np.random.default_rng([self._seed, self.epoch]).shuffle(order)
        for batch in range(len(self)):
            cut = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield [SampleRef(self.epoch, int(place)) for place in cut]


def make_loader(dataset: PhotoDataset, batches: BatchSampler, workers: int) -> "DataLoader[Batch]":
    """Read a dataset batch by batch.

    Args:
        dataset: the photos.
        batches: which of them, when.
        workers: processes that read ahead; 0: read in this one. They are spawned, as Lance does not
            survive a fork, and stay from one epoch to the next.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_work_alone,
        generator=torch.Generator(),  # its own: torch's is left for what trains
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _work_alone(_: int) -> None:
    torch.set_num_threads(1)
