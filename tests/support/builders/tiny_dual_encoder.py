"""A dual encoder with random weights, in a folder as open_clip saves it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from fb_marketplace.ml.torchvision_compat import import_torchvision
from fb_marketplace.storage.fingerprints import sha256

DIMENSION, TOKENS, SIDE = 24, 16, 64
WORDS = ("[PAD]", "[UNK]", "</s>", "oak", "red", "table", "lamp", "chair")


def write_dual_encoder(folder: Path, own_tokenizer: bool = False) -> dict[str, str]:
    """Write config, weights and tokenizer; return the parameters of ``search`` that name them.

    Args:
        folder: a folder, which is created.
        own_tokenizer: whether texts are read by a tokenizer in the folder, as by SigLIP, and not by CLIP's.
    """
    import_torchvision()
    import open_clip

    text: dict[str, Any] = {"context_length": TOKENS, "width": 32, "heads": 2, "layers": 1}
    if own_tokenizer:
        # SigLIP pools the last token, so padding counts.
        text |= {
            "vocab_size": len(WORDS),
            "hf_tokenizer_name": "tests/words",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "pool_type": "last",
        }
    config = {
        "embed_dim": DIMENSION,
        "vision_cfg": {
            "image_size": SIDE,
            "patch_size": 16,
            "width": 32,
            "head_width": 16,
            "layers": 1,
        },
        "text_cfg": text,
    }
    torch.manual_seed(31)
    weights = save(open_clip.CLIP(**config).state_dict())
    preprocessing = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2], "resize_mode": "squash"}
    described = {"model_cfg": config, "preprocess_cfg": preprocessing}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    (folder / "open_clip_model.safetensors").write_bytes(weights)
    if own_tokenizer:
        (folder / "tokenizer.json").write_text(_words().to_str())
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "</s>"}))
    return {
        "dual_encoder": str(folder),
        "dual_encoder_sha256": sha256(weights),
        "dual_encoder_license": "mit",
    }


def _words() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    return tokenizer
