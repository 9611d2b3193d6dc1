import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from support.builders import tiny_dual_encoder as tiny
from support.builders import tiny_text_encoder
from tokenizers import Tokenizer

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.pipelines.vision.export.dual_encoder import (
    export_dual_encoder,
    extract_dual_embeddings,
)
from fb_marketplace.pipelines.vision.models import dual_encoders
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.encoders.text import TextEncoder

PROJECT = Path(__file__).parents[5]
TITLES = [
    "",
    "Oak TABLE",
    "a red lamp (hardly used), £25!",
    "“don't” crème_brûlée 家具",
    "lamp " * 40,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dual encoder that reads texts with CLIP's tokenizer."""
    folder = tmp_path_factory.mktemp("dual") / "clip"
    tiny.write_dual_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def parameters(base_parameters, folder):
    digest = sha256((folder / "open_clip_model.safetensors").read_bytes())
    named = {"dual_encoder_sha256": digest, "dual_encoder_license": "mit"}
    return SearchParameters(**base_parameters["search"] | {"dual_encoder": str(folder)} | named)


@pytest.fixture(scope="module")
def exported(parameters):
    return export_dual_encoder(parameters)


@pytest.fixture(scope="module")
def network(folder):
    import open_clip

    return open_clip.create_model(f"local-dir:{folder}").eval()


@pytest.fixture
def copied(parameters, folder, tmp_path):
    """Copy the folder's files; return the parameters that name the copy."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return parameters.model_copy(update={"dual_encoder": str(tmp_path)})


def error_line(parameters) -> str:
    with pytest.raises(UserError) as error:
        dual_encoders.load_dual_encoder(parameters)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_served_text_vectors_equal_those_of_open_clip(exported, network):
    import open_clip

    ids = open_clip.tokenizer.SimpleTokenizer(context_length=tiny.TOKENS)(TITLES)
    with torch.no_grad():
        expected = network.encode_text(ids, normalize=True).numpy()
    sentences = tiny_text_encoder.graph(), tiny_text_encoder.tokenizer()
    encoder = TextEncoder.from_bytes(*sentences, exported.text_encoder_fp32, exported.tokenizer)

    text, text_to_image = encoder.encode(TITLES)

    assert encoder.text_to_image_dimension == tiny.DIMENSION
    np.testing.assert_allclose(text_to_image, expected, atol=1e-4)
    alone = TextEncoder.from_bytes(*sentences).encode(TITLES)
    np.testing.assert_array_equal(text, alone.text_embedding)


def test_photo_vectors_equal_those_of_open_clip(exported, network):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    # Smooth, since open_clip rounds resized photos to whole numbers.
    y, x = np.mgrid[0:256, 0:256]
    pixels = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)[np.newaxis]
    transform = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    with torch.no_grad():
        photo = transform(Image.fromarray(pixels[0]))[None]
        expected = network.encode_image(photo, normalize=True).numpy()

    result = Encoder.from_bytes(exported.image_encoder).encode(pixels)

    np.testing.assert_allclose(result.embeddings, expected, atol=2e-3)
    assert exported.report["max_difference"] <= 1e-4


def test_report_has_source_and_license(exported, parameters):
    assert exported.report | {"max_difference": 0} == {
        "dimension": tiny.DIMENSION,
        "tokens": tiny.TOKENS,
        "max_difference": 0,
        "weights": [
            {
                "name": "dual encoder",
                "source": "folder clip",
                "sha256": parameters.dual_encoder_sha256,
                "license": "mit",
            }
        ],
    }


def test_tokenizer_of_the_folder_pads_with_its_token(base_parameters, tmp_path):
    named = tiny.write_dual_encoder(tmp_path / "siglip", own_tokenizer=True)
    parameters = SearchParameters(**base_parameters["search"] | named)

    encoder = dual_encoders.load_dual_encoder(parameters)

    ids = Tokenizer.from_str(encoder.tokenizer.decode()).encode("A red, OAK table!").ids
    oak, red, table = (tiny.WORDS.index(word) for word in ("oak", "red", "table"))
    assert ids == [1, red, oak, table, *[2] * (tiny.TOKENS - 4)]
    assert encoder.network.encode_text(torch.tensor([ids])).shape == (1, tiny.DIMENSION)


def test_photos_are_encoded_once(exported, store_photos, draw_photo, store_file):
    images = store_photos({f"photo {seed}": draw_photo(seed) for seed in range(3)})
    graph = store_file("tower", exported.image_encoder)

    first, *batches = extract_dual_embeddings(images, graph, frozenset())
    (again,) = extract_dual_embeddings(images, graph, first.keys)

    rows = {row["image_id"]: row["features"] for batch in batches for row in batch.to_pylist()}
    assert {len(vector) for vector in rows.values()} == {tiny.DIMENSION}
    assert len(rows) == len(again.keys & again.existing) == 3


def test_no_dual_encoder_skips_the_export(base_parameters):
    with pytest.raises(InsufficientDataError, match=r"search\.dual_encoder is null"):
        export_dual_encoder(SearchParameters(**base_parameters["search"]))


@pytest.mark.parametrize(
    ("missing", "values"),
    [
        ("dual_encoder_license", {"dual_encoder": "hf-hub:some/network"}),
        ("dual_encoder_sha256", {"dual_encoder": "folder", "dual_encoder_license": "mit"}),
    ],
)
def test_missing_description_is_rejected(base_parameters, missing, values):
    with pytest.raises(ValidationError, match=f"{missing} is missing"):
        SearchParameters(**base_parameters["search"] | values)


def test_wrong_digest_is_rejected(parameters):
    line = error_line(parameters.model_copy(update={"dual_encoder_sha256": "0" * 64}))

    assert "expected 000000000000" in line
    assert "check search.dual_encoder_sha256" in line


def test_name_that_is_no_folder_is_rejected(parameters):
    line = error_line(parameters.model_copy(update={"dual_encoder": "ViT-B-16"}))

    assert "'ViT-B-16'" in line
    assert "hf-hub:<repository>" in line


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_missing_file_is_named(copied, tmp_path, name):
    (tmp_path / name).unlink()

    assert name in error_line(copied)


def test_weights_of_another_size_are_rejected(copied, tmp_path):
    file = tmp_path / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["embed_dim"] = 2 * tiny.DIMENSION
    file.write_text(json.dumps(config))

    line = error_line(copied)

    assert "size mismatch" in line
    assert "open_clip_model.safetensors" in line


def test_weights_without_a_tensor_are_rejected(copied, tmp_path):
    file = tmp_path / "open_clip_model.safetensors"
    tensors = load_file(file)
    del tensors["text_projection"]
    save_file(tensors, file)
    digest = sha256(file.read_bytes())

    line = error_line(copied.model_copy(update={"dual_encoder_sha256": digest}))

    assert "text_projection" in line


def test_unsupported_tokenizer_is_rejected(copied, tmp_path):
    file = tmp_path / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"strip_sep_token": True}
    file.write_text(json.dumps(config))

    assert "needs strip_sep_token" in error_line(copied)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": {"pad_token": "<none>"}}, "pad_token '<none>'"),
        ({"tokenizer_config.json": ["</s>"]}, "tokenizer_config.json"),
        ({"tokenizer.json": {}}, "tokenizer.json"),
        ({"tokenizer.json": None}, "has no tokenizer.json"),
    ],
)
def test_damaged_tokenizer_is_rejected(base_parameters, tmp_path, files, expected):
    folder = tmp_path / "siglip"
    named = tiny.write_dual_encoder(folder, own_tokenizer=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
        if content is None:
            (folder / name).unlink()

    assert expected in error_line(SearchParameters(**base_parameters["search"] | named))


def test_tokenizer_config_that_is_no_json_is_rejected(base_parameters, tmp_path):
    named = tiny.write_dual_encoder(tmp_path / "siglip", own_tokenizer=True)
    (tmp_path / "siglip" / "tokenizer_config.json").write_text("{")

    line = error_line(SearchParameters(**base_parameters["search"] | named))

    assert "tokenizer_config.json" in line
    assert "is no JSON object (" in line


def test_text_network_of_another_library_is_rejected(copied, tmp_path):
    file = tmp_path / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "tests/bert"
    file.write_text(json.dumps(config))

    assert "reads texts by tests/bert" in error_line(copied)


def test_missing_library_is_reported(parameters, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)

    assert "pip install open_clip_torch" in error_line(parameters)


def test_offline_hub_is_reported(parameters, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    line = error_line(parameters.model_copy(update={"dual_encoder": "hf-hub:some/network"}))

    assert "https://huggingface.co/some/network" in line
    assert "set search.dual_encoder to a folder" in line


def test_files_of_the_hub_are_loaded(base_parameters, hub, tmp_path):
    folder = tmp_path / "siglip"
    named = tiny.write_dual_encoder(folder, own_tokenizer=True)
    for file in folder.iterdir():
        repository = "tests/words" if file.name.startswith("tokenizer") else "some/network"
        hub[f"/{repository}/resolve/main/{file.name}"] = file.read_bytes()
    in_hub = {"dual_encoder": "hf-hub:some/network", "dual_encoder_sha256": None}
    values = base_parameters["search"] | named

    loaded, local = (
        dual_encoders.load_dual_encoder(SearchParameters(**values | other))
        for other in (in_hub, {})
    )

    assert loaded.source == "https://huggingface.co/some/network"
    assert (loaded.sha256, loaded.tokenizer) == (local.sha256, local.tokenizer)
    ids = torch.arange(tiny.TOKENS)[None] % len(tiny.WORDS)
    assert torch.equal(loaded.network.encode_text(ids), local.network.encode_text(ids))


def test_names_in_docs_exist_in_open_clip():
    import open_clip

    files = [*PROJECT.glob("docs/*.md"), *PROJECT.glob("conf/*/*.yml")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    names = {name for text in texts for name in re.findall(r"\bhf-hub:([\w.-]+/[\w.-]+)", text)}
    configs = [open_clip.get_pretrained_cfg(*pair) for pair in open_clip.list_pretrained()]
    registered = {config.get("hf_hub", "").rstrip("/") for config in configs}

    assert names & registered
    # The registry lacks networks of other publishers; its name is from the publisher's README.
    assert names - registered == {"Marqo/marqo-ecommerce-embeddings-B"}
