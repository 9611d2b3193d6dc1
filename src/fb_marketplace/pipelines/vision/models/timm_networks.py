"""Networks of timm by name: configuration, and weights from the Hugging Face Hub or a file."""

import contextlib
import difflib
import errno
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError

if TYPE_CHECKING:
    import torch

PREFIX: Final = "timm/"

HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""Names of a file of weights in a repository of the hub, the preferred first."""

UNKNOWN_LICENSE: Final = "unknown"
"""timm's licence of weights whose publisher states none."""

FULL_OR_FORBIDDEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers of a cache that cannot be written."""

MAX_REASON: Final = 300
"""Maximum length of a library's reason in an error."""

FILE_REMEDY: Final = (
    "set vision.weights to a file, with vision.weights_sha256 and vision.weights_license, "
    "or to none"
)
"""Remedy in errors about weights in the hub."""


def timm_config(backbone: str) -> Any:
    """Return timm's configuration of a network, a ``PretrainedCfg``.

    Args:
        backbone: ``timm/`` and a name of timm, with or without the tag of its weights.

    Raises:
        UserError: timm has no such network, or no such weights of it.
    """
    from fb_marketplace.ml.torchvision_compat import import_timm

    timm, name = import_timm(), backbone.removeprefix(PREFIX)
    config = None
    if timm.is_model(name):
        with contextlib.suppress(RuntimeError):  # of an unknown tag
            config = timm.get_pretrained_cfg(name)
    if config is None:
        names = timm.list_models(include_tags=True) + timm.list_models()
        similar = difflib.get_close_matches(name, names, n=3) or ["resnet50.a1_in1k"]
        raise UserError(
            f"vision.backbone is '{backbone}', but timm {timm.__version__} has no '{name}'; expected a "
            f"name of `timm.list_models(include_tags=True)`, such as {', '.join(similar)}"
        )
    return config


@functools.cache
def count_features(backbone: str, side: int) -> int:
    """Return the size of the pooled features of a network; its layers are built without memory.

    Args:
        backbone: the network.
        side: side of the photos.

    Raises:
        UserError: the network has no feature maps, or cannot read photos of this side.
    """
    import torch

    own_side = timm_config(backbone).input_size[-1]
    try:
        with torch.device("meta"), torch.no_grad():
            network: Any = create_network(backbone, side)
            features, _ = network.forward_intermediates(torch.zeros((1, 3, side, side)))
            network.group_matcher(coarse=True)
            return int(network.forward_head(features, pre_logits=True).shape[1])
    except Exception as error:  # each network of timm has its own errors
        reads_own_side = False
        with contextlib.suppress(UserError):
            reads_own_side = side != own_side and count_features(backbone, own_side) > 0
        remedy = (
            f"set vision.input_side to {own_side}, the side in timm's configuration"
            if reads_own_side
            else "choose a backbone that has feature maps"
        )
        raise UserError(
            f"{backbone} cannot read photos of {side} x {side} pixels ({short_message(error)}); {remedy}"
        ) from error


def create_network(backbone: str, side: int) -> "torch.nn.Module":
    """Create a network without classifier, with random weights."""
    network: torch.nn.Module = _create(backbone, side, num_classes=0)
    return network


def load_network(
    backbone: str, side: int, tensors: "dict[str, torch.Tensor]", origin: str
) -> "torch.nn.Module":
    """Create a network without classifier, with the weights of a file.

    timm converts the names of published files, and resizes position embeddings to ``side``.

    Args:
        backbone: the network.
        side: side of the photos.
        tensors: the weights by name, with or without classifier.
        origin: source of the weights, for errors.

    Raises:
        UserError: a tensor of the network is missing or has another shape.
    """
    classifiers = timm_config(backbone).classifier or ""
    classifier = classifiers if isinstance(classifiers, str) else classifiers[0]
    # With the number of classes in the file, timm requires all tensors to be there.
    classes = len(tensors.get(f"{classifier}.weight", ()))
    overlay = {
        "state_dict": tensors,
        "num_classes": classes,
        "label_offset": 0,
        "custom_load": False,
    }
    try:
        network: Any = _create(
            backbone, side, num_classes=classes, pretrained=True, pretrained_cfg_overlay=overlay
        )
    except Exception as error:  # each network of timm has its own errors
        raise UserError(
            f"{origin} does not fit {backbone}: {short_message(error)}; expected the weights of this "
            "network. Set vision.backbone to the one that they were saved from"
        ) from error
    network.pretrained_cfg.pop("state_dict")  # copies of the network would copy it
    network.reset_classifier(0)
    loaded: torch.nn.Module = network
    return loaded


class HubFile(NamedTuple):
    """A file of the hub, in the hub's cache, and its digest."""

    path: Path
    sha256: str


@functools.cache
def download_from_hub(backbone: str) -> HubFile:
    """Download the weights of a network: for all of a process the same, even if the hub's change.

    A file in the hub's cache is not downloaded again.

    Raises:
        UserError: the hub cannot be reached, or has no such file.
    """
    config = timm_config(backbone)
    names = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    return download_file(f"weights of {backbone}", config.hf_hub_id, names, FILE_REMEDY)


def download_file(subject: str, hub_id: str, names: Sequence[str], remedy: str) -> HubFile:
    """Download the first file that a repository of the hub has, unless the hub's cache has it.

    Args:
        subject: description of the file, in the plural, for errors.
        hub_id: repository, with ``@`` and a revision if it is not the default one.
        names: one or two names, the preferred first.
        remedy: how to do without the hub, for errors.

    Raises:
        UserError: the hub cannot be reached, or has no such file.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    preferred, *others = names
    try:
        return _download(subject, hub_id, preferred, remedy)
    except UserError as error:
        if not others or not isinstance(error.__cause__, EntryNotFoundError):
            raise
        if not isinstance(error.__cause__, LocalEntryNotFoundError):
            return _download(subject, hub_id, others[0], remedy)
        # Without the hub, the cache may have the other file.
        with contextlib.suppress(UserError):
            return _download(subject, hub_id, others[0], remedy, only_cached=True)
        raise  # The first error has the reason why the hub has not answered.


def _download(
    subject: str, hub_id: str, file: str, remedy: str, only_cached: bool = False
) -> HubFile:
    from huggingface_hub import hf_hub_download

    repository, _, revision = hub_id.partition("@")
    url = f"https://huggingface.co/{repository}"
    try:
        path = Path(
            hf_hub_download(
                repository, file, revision=revision or None, local_files_only=only_cached
            )
        )
        with path.open("rb") as stream:
            return HubFile(path, hashlib.file_digest(stream, "sha256").hexdigest())
    except Exception as error:  # the hub's HTTP client has its own errors
        raise UserError(
            f"{subject} could not be downloaded from {url} ({type(error).__name__}); "
            f"{_download_remedy(error, url, remedy)}"
        ) from error


def _download_remedy(error: Exception, url: str, remedy: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"accept the terms at {url}, then run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"it does not exist or is private. Run `hf auth login` if you have access, or {remedy}"
        )
    for cause in (
        error,
        error.__cause__,
    ):  # Of an overloaded hub, the error is that of a missing network.
        if isinstance(cause, HfHubHTTPError):
            status = getattr(cause.response, "status_code", "an error")
            return f"the hub answered {status}. Retry later if it is overloaded, or {remedy}"
    if isinstance(error, OSError) and error.errno in FULL_OR_FORBIDDEN:
        return f"{error.strerror}: check space and permissions of {constants.HF_HUB_CACHE}, or set HF_HOME"
    return f"without a network, {remedy}"


def _create(backbone: str, side: int, **options: Any) -> Any:
    from fb_marketplace.ml.torchvision_compat import import_timm

    if timm_config(backbone).fixed_input_size:
        options["img_size"] = side
    return import_timm().create_model(backbone.removeprefix(PREFIX), **options)


def short_message(error: Exception) -> str:
    """Return the message of a library's error as one short line."""
    return " ".join(str(error).split())[:MAX_REASON]
