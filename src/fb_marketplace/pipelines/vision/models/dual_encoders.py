"""Dual encoders of open_clip: a network for photos and one for texts, from a folder or the hub.

A folder has the files of the library: ``open_clip_config.json``, the weights and, unless the network uses
CLIP's own vocabulary, ``tokenizer.json`` and ``tokenizer_config.json``.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.observability.log_filters import suppress_warnings
from fb_marketplace.parameters.release import HUB_PREFIX, SearchParameters
from fb_marketplace.pipelines.vision.models.clip_tokenizers import build_tokenizer
from fb_marketplace.pipelines.vision.models.timm_networks import (
    HubFile,
    download_file,
    short_message,
)

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CONFIG: Final = "open_clip_config.json"
WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of the file of weights, the preferred first."""

REMEDY: Final = (
    "set search.dual_encoder to a folder with its files, and search.dual_encoder_sha256, or to null"
)
"""Remedy in errors about the hub."""


class DualEncoder(NamedTuple):
    """A loaded dual encoder.

    Attributes:
        network: open_clip's network, with ``encode_image`` and ``encode_text``.
        tokenizer: JSON of the library ``tokenizers``; it pads and truncates to the network's length.
        source: address in the hub, or name of the folder.
        sha256: digest of the file of weights.
    """

    network: Any
    tokenizer: bytes
    source: str
    sha256: str


class _Files(NamedTuple):
    config: Path
    weights: HubFile
    source: str
    read_tokenizer: Callable[[str, str], bytes]
    """Reads a file of the tokenizer of a name; a folder has only one tokenizer."""


def load_dual_encoder(parameters: SearchParameters) -> DualEncoder:
    """Load the dual encoder that the parameters name.

    Raises:
        UserError: open_clip is not installed, a file is missing or has another digest, or the files do not
            fit each other.
    """
    name = parameters.dual_encoder or ""
    open_clip = _import_open_clip()
    is_in_hub = name.startswith(HUB_PREFIX)
    files = _download(name.removeprefix(HUB_PREFIX)) if is_in_hub else _find_files(name)
    _check_digest(files.weights, name, parameters.dual_encoder_sha256)
    folder = files.config.parent
    try:
        model_config = json.loads(files.config.read_bytes())["model_cfg"]
        _check_text_network(model_config["text_cfg"], name)
        with suppress_warnings():  # open_clip warns of the random weights that are replaced below
            network = open_clip.create_model(
                f"local-dir:{folder}", load_weights=False, pretrained_text=False
            )
            open_clip.load_checkpoint(network, str(files.weights.path))
    except UserError:
        raise
    except Exception as error:  # open_clip has errors of all kinds
        raise UserError(
            f"search.dual_encoder: {files.weights.path.name} of {name} cannot be loaded as {CONFIG} "
            f"describes it: {short_message(error)}; expected both files of one network. Copy them again "
            "from where it was published"
        ) from error
    tokenizer = build_tokenizer(model_config["text_cfg"], files.read_tokenizer, name)
    return DualEncoder(network.eval(), tokenizer, files.source, files.weights.sha256)


def image_tower(network: Any) -> "torch.nn.Module":
    """Return a module that encodes stretched photos, uint8 (n, 256, 256, 3).

    The whole photo is resized to the network's side, however the network was trained. The module returns a
    placeholder for probabilities, (n, 1), and the vectors, float32 (n, dimension), of unit length.
    """
    import torch

    config = network.visual.preprocess_cfg
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            photos = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
            resized = torch.nn.functional.interpolate(
                photos, size=config["size"], mode=config["interpolation"], antialias=True
            )
            vectors = self.network.encode_image((resized.clamp(0, 1) - mean) / std, normalize=True)
            return vectors[:, :1], vectors

    return ImageTower().eval()


def text_tower(network: Any) -> "torch.nn.Module":
    """Return a module that encodes ids, int64 (n, length), to unit vectors, float32 (n, dimension)."""
    import torch

    class TextTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = self.network.encode_text(ids, normalize=True)
            return vectors

    return TextTower().eval()


def _import_open_clip() -> ModuleType:
    from fb_marketplace.ml.torchvision_compat import import_torchvision

    import_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise UserError(
            "search.dual_encoder needs open_clip, which is not installed. Run `pip install "
            "open_clip_torch` (the extra `clip`), or set it to null"
        ) from error
    module: ModuleType = open_clip
    return module


def _check_text_network(text_config: Mapping[str, Any], name: str) -> None:
    if transformer := text_config.get("hf_model_name"):
        raise UserError(
            f"search.dual_encoder: {name} reads texts by {transformer} of the library transformers, which "
            "is not supported; expected a text network of open_clip itself. Choose another network"
        )


def _find_files(name: str) -> _Files:
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(
            f"search.dual_encoder is '{name}', which is no folder; expected {HUB_PREFIX}<repository>, such "
            f"as {HUB_PREFIX}Marqo/marqo-ecommerce-embeddings-B, or a folder with {CONFIG} and weights"
        )
    config = folder / CONFIG
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None or not config.is_file():
        missing = CONFIG if weights else f"file of weights, {' or '.join(WEIGHTS)}"
        raise UserError(
            f"search.dual_encoder: {folder} has no {missing}. Copy it there from where the network was "
            "published"
        )
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()

    def read_tokenizer(_: str, file: str) -> bytes:
        try:
            return (folder / file).read_bytes()
        except OSError as error:
            raise UserError(
                f"search.dual_encoder: {folder} has no {file}, which its tokenizer needs "
                f"({error.strerror}). Copy it there from where the tokenizer was published"
            ) from error

    return _Files(config, HubFile(weights, digest), f"folder {folder.name}", read_tokenizer)


def _download(repository: str) -> _Files:
    subject = f"files of {HUB_PREFIX}{repository}"

    def read_tokenizer(name: str, file: str) -> bytes:
        return download_file(
            f"files of the tokenizer {name}", name, [file], REMEDY
        ).path.read_bytes()

    return _Files(
        download_file(subject, repository, [CONFIG], REMEDY).path,
        download_file(subject, repository, WEIGHTS, REMEDY),
        f"https://huggingface.co/{repository}",
        read_tokenizer,
    )


def _check_digest(weights: HubFile, name: str, expected: str | None) -> None:
    file = f"{weights.path.name} of {name}"
    if expected is None:
        logger.info("%s has sha256 %s; search.dual_encoder_sha256 pins it", *(file, weights.sha256))
    elif weights.sha256 != expected.lower():
        raise UserError(
            f"{file} has the digest {weights.sha256[:12]}…, expected {expected[:12]}…; check "
            "search.dual_encoder_sha256"
        )
