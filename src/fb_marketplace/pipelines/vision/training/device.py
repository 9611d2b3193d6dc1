"""Device and precision of training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def best_device() -> "torch.device":
    """Return the CUDA device if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: "torch.device", precision: str) -> "torch.autocast":
    """Return the autocast context of a precision.

    Args:
        device: device of the computation.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 if the device has instructions for it.
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(device, precision))


def computes_in_bf16(device: "torch.device", precision: str) -> bool:
    """Return whether a precision means bf16 on a device; see :func:`autocast`."""
    return precision == "bf16" or (precision == "auto" and _has_bf16(device))


def _has_bf16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
