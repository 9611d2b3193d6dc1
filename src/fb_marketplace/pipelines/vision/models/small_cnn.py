"""A small residual network, trained from scratch."""

from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

WIDTHS: Final = (32, 64, 128, 192, 256)


def small_cnn() -> "torch.nn.Module":
    """Build residual blocks (He et al., 2016), each halving the side, with random weights.

    Returns:
        A module whose ``features`` map float32 (n, 3, side, side) to (n, 256, side / 32, side / 32).
    """
    import torch

    class Residual(torch.nn.Module):
        """Two convolutions and a shortcut; the first convolution has stride 2."""

        def __init__(self, width_in: int, width_out: int) -> None:
            super().__init__()
            self.path = torch.nn.Sequential(
                torch.nn.Conv2d(width_in, width_out, 3, stride=2, padding=1, bias=False),
                torch.nn.BatchNorm2d(width_out),
                torch.nn.ReLU(),
                torch.nn.Conv2d(width_out, width_out, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(width_out),
            )
            self.shortcut = torch.nn.Sequential(
                torch.nn.AvgPool2d(2, ceil_mode=True),
                torch.nn.Conv2d(width_in, width_out, 1, bias=False),
                torch.nn.BatchNorm2d(width_out),
            )

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            return torch.relu(self.path(x) + self.shortcut(x))

    stem = torch.nn.Sequential(
        torch.nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2, bias=False),
        torch.nn.BatchNorm2d(WIDTHS[0]),
        torch.nn.ReLU(),
    )
    network = torch.nn.Module()
    network.features = torch.nn.Sequential(
        stem,
        *(Residual(before, after) for before, after in pairwise(WIDTHS)),
    )
    return network
