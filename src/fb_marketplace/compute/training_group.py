"""The processes that train a network together: workers of a Ray cluster, or this process alone."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")


class TrainingGroup(NamedTuple):
    """Processes with the same weights, which share each batch.

    Attributes:
        rank: number of this process, from 0. Rank 0 writes the checkpoints.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def part(self, count: int) -> slice:
        """Return the part of this process among so many items; parts differ by one item at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def broadcast(self, read: Callable[[], Value]) -> Value:
        """Return the value that rank 0 reads; the others do not read it."""
        if self.size == 1:
            return read()
        import torch.distributed as dist

        values: list[Any] = [None if self.rank else read()]
        dist.broadcast_object_list(values)
        value: Value = values[0]
        return value

    def gather(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows of all processes, in the order of their ranks."""
        if self.size == 1:
            return rows
        import torch.distributed as dist

        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, rows)
        return np.concatenate([part for part in parts if len(part)])

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over all processes."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, values)
        total: NDArray[np.float64] = np.sum(parts, axis=0)
        return total


def training_group() -> TrainingGroup:
    """Return the group of this process: itself alone unless torch's process group is initialized."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return TrainingGroup(dist.get_rank(), dist.get_world_size())
    return TrainingGroup()
