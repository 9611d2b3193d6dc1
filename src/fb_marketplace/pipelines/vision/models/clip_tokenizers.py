"""Tokenizers of dual encoders as one JSON file of the library ``tokenizers``, which servers read.

The file also has what open_clip does before and after: it cleans texts, and pads and truncates ids to the
length that the network reads. Broken encodings (ftfy) and HTML entities are left as they are.
"""

import json
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from fb_marketplace.errors import UserError

DEFAULT_LENGTH: Final = 77
PUNCTUATION: Final = "[" + "".join(f"\\{character}" for character in string.punctuation) + "]"
WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""CLIP's parts of a text that are tokenized apart."""


def build_tokenizer(
    text_config: Mapping[str, Any], read_file: Callable[[str, str], bytes], origin: str
) -> bytes:
    """Build the tokenizer of a network of open_clip.

    Args:
        text_config: the network's ``text_cfg``.
        read_file: reads a file of a named tokenizer of the Hugging Face Hub, such as ``tokenizer.json``.
        origin: name of the network, for errors.

    Returns:
        JSON of the library ``tokenizers``.

    Raises:
        UserError: a file is missing or has no tokenizer, or the network needs an unsupported option.
    """
    from tokenizers import normalizers

    name, options = text_config.get("hf_tokenizer_name"), text_config.get("tokenizer_kwargs") or {}
    unsupported = sorted(options.keys() - {"clean"})
    if text_config.get("tokenizer_mode"):
        unsupported.append("tokenizer_mode")
    if unsupported:
        raise UserError(
            f"search.dual_encoder: the tokenizer of {origin} needs {', '.join(unsupported)}, which is not "
            "supported. Choose another network"
        )
    if name:
        tokenizer = _read_tokenizer(name, read_file, origin)
        padding = _padding_id(tokenizer, _read_config(name, read_file, origin), origin)
        clean = options.get("clean", "whitespace")
    else:
        tokenizer, padding, clean = _clip_tokenizer(), 0, options.get("clean", "lower")
    steps = _cleaning(clean)
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = normalizers.Sequence(steps)
    length = text_config.get("context_length", DEFAULT_LENGTH)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=padding)
    content: str = tokenizer.to_str()
    return content.encode()


def _read_tokenizer(name: str, read_file: Callable[[str, str], bytes], origin: str) -> Any:
    from tokenizers import Tokenizer

    content = read_file(name, "tokenizer.json")
    try:
        return Tokenizer.from_str(content.decode())
    except Exception as error:  # tokenizers raises plain Exceptions
        raise UserError(
            f"search.dual_encoder: tokenizer.json of {origin} is not a tokenizer ({error}). Copy it again "
            "from where it was published"
        ) from error


def _read_config(
    name: str, read_file: Callable[[str, str], bytes], origin: str
) -> Mapping[str, Any]:
    content = read_file(name, "tokenizer_config.json")
    try:
        config = json.loads(content)
    except ValueError as error:
        config, reason = None, f" ({error})"
    else:
        reason = ""
    if not isinstance(config, dict):
        raise UserError(
            f"search.dual_encoder: tokenizer_config.json of {origin} is no JSON object{reason}. Copy it "
            "again from where it was published"
        )
    return config


def _padding_id(tokenizer: Any, config: Mapping[str, Any], origin: str) -> int:
    token = config.get("pad_token")
    token = token["content"] if isinstance(token, Mapping) else token
    padding = tokenizer.token_to_id(token) if token else None
    if padding is None:
        raise UserError(
            f"search.dual_encoder: tokenizer_config.json of {origin} has the pad_token {token!r}; expected "
            "a token of tokenizer.json. Copy both files from where the tokenizer was published"
        )
    return int(padding)


def _clip_tokenizer() -> Any:
    """Return CLIP's byte-level BPE, with the vocabulary that open_clip contains."""
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    simple = SimpleTokenizer()
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(
        models.BPE(vocab=simple.encoder, merges=merges, end_of_word_suffix="</w>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    first, last = (simple.decoder[number] for number in simple.all_special_ids)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(first, simple.sot_token_id), (last, simple.eot_token_id)],
    )
    return tokenizer


def _cleaning(kind: str) -> list[Any]:
    """Return normalizers that do what open_clip's function of this name does."""
    from tokenizers import Regex, normalizers

    steps: list[Any] = [
        normalizers.NFC(),
        normalizers.Replace(Regex("[‘’‚‛]"), "'"),
        normalizers.Replace(Regex("[“”„‟]"), '"'),
    ]
    if kind == "canonicalize":
        steps += [normalizers.Replace("_", " "), normalizers.Replace(Regex(PUNCTUATION), "")]
    if kind != "whitespace":
        steps.append(normalizers.Lowercase())
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
