"""What a network is computed on, and in which precision."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def best_device() -> "torch.device":
    """Give the CUDA device if there is one, else the processor."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: "torch.device", precision: str) -> "torch.autocast":
    """Give the context in which a network computes.

    Args:
        device: where.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 where the device has instructions for it.
    """
    import torch

    mixed = computes_in_bf16(device, precision)
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


def computes_in_bf16(device: "torch.device", precision: str) -> bool:
    """Tell what a precision means on a device; see :func:`autocast`."""
    return precision == "bf16" or (precision == "auto" and _has_bf16(device))


def _has_bf16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
