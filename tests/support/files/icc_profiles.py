"""ICC profiles (ICC.1:2001) and the sRGB colours that they stand for, computed without a colour library."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95047, 1.0, 1.08883])

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
"""Red, green and blue primaries, as (x, y)."""

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

Primaries = Sequence[tuple[float, float]]


def rgb_profile(primaries: Primaries, gamma: float | None = None) -> bytes:
    """Return a profile with a white point of D65; without a gamma it has the curve of sRGB."""
    tags = {
        b"%cXYZ" % name: xyz(column)
        for name, column in zip(b"rgb", _matrix(primaries).T, strict=True)
    }
    return profile(b"RGB ", tags | {b"%cTRC" % name: curve(gamma) for name in b"rgb"})


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": curve(gamma)})


def cmyk_profile() -> bytes:
    """Return a profile in which black ink is black, cyan ink blue, and every other ink changes nothing."""
    corners = []
    for corner in np.ndindex(2, 2, 2, 2):
        cyan, _, _, black = corner
        lab = (0, 0, 0) if black else (32, 79, -108) if cyan else (100, 0, 0)
        corners.append([lab[0] * 65280 / 100, (lab[1] + 128) * 256, (lab[2] + 128) * 256])
    identity = np.eye(3) * 65536
    table = struct.pack(">4sIBBBx9i", b"mft2", 0, 4, 3, 2, *identity.astype(int).ravel())
    table += struct.pack(">HH", 2, 2) + struct.pack(">HH", 0, 65535) * 4
    table += np.array(corners).round().astype(">u2").tobytes() + struct.pack(">HH", 0, 65535) * 3
    return profile(b"CMYK", {b"A2B0": table}, connection=b"Lab ", device=b"prtr")


def profile(
    space: bytes, tags: Mapping[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr"
) -> bytes:
    tags = {b"wtpt": xyz(D50), **tags}
    position, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, position + len(body), len(data))
        body += padded
    size = position + len(body)
    header = struct.pack(
        ">I4sI4s4s4s12s4s",
        size,
        bytes(4),
        0x02400000,
        device,
        space,
        connection,
        bytes(12),
        b"acsp",
    )
    header += bytes(28) + xyz(D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return (
        b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)
    )


def curve(gamma: float | None) -> bytes:
    parameters = (gamma,) if gamma else _SRGB_CURVE
    kind = 3 if gamma is None else 0
    numbers = b"".join(struct.pack(">i", round(value * 65536)) for value in parameters)
    return b"para" + bytes(4) + struct.pack(">Hxx", kind) + numbers


def in_srgb(
    colors: NDArray[np.uint8], primaries: Primaries, gamma: float | None = None
) -> NDArray[np.float64]:
    """Return the sRGB levels of colours in a profile."""
    scaled = colors / 255
    linear = (
        scaled**gamma
        if gamma
        else np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    )
    ours = linear @ _matrix(primaries).T @ np.linalg.inv(_matrix(SRGB)).T
    ours = ours.clip(0, 1)
    encoded = np.where(ours <= 0.0031308, ours * 12.92, 1.055 * ours ** (1 / 2.4) - 0.055)
    return np.asarray(encoded * 255)


def _matrix(primaries: Primaries) -> NDArray[np.float64]:
    """Return the matrix from linear RGB under D65 to XYZ under D50 (Bradford)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    scaled = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ D50) / (_BRADFORD @ D65)) @ _BRADFORD
    return np.asarray(adapt @ scaled)
