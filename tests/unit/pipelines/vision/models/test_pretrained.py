import hashlib
import io
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save

from fb_marketplace.errors import UserError
from fb_marketplace.ml.torchvision_compat import import_torchvision
from fb_marketplace.pipelines.vision.models import backbones

LITE = "efficientnet_lite0"


def as_pth(tensors) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


@pytest.fixture
def from_file(base_recipe, changed, tmp_path):
    """Writes a file, and builds a backbone with the weights that it holds."""

    def build(backbone, content, name="weights.safetensors", sha256=None):
        path = tmp_path / name
        path.write_bytes(content)
        digest = sha256 or hashlib.sha256(content).hexdigest()
        try:
            return backbones.build_backbone(
                changed(base_recipe, backbone=backbone, weights=str(path), weights_sha256=digest)
            )
        finally:
            path.unlink()  # some are of 100 MB, and pytest keeps its folders

    return build


@pytest.fixture(scope="module")
def resnet50():
    """What a user has: named tensors of a ResNet50 that was trained on seven classes."""
    torch.manual_seed(17)
    tensors = backbones.BACKBONES["resnet50"].make().state_dict()
    return tensors | {"fc.weight": torch.ones(7, 2048), "fc.bias": torch.ones(7)}


def refused(build, *base_recipe, **named) -> str:
    with pytest.raises(UserError) as error:
        build(*base_recipe, **named)
    predicted = str(error.value)
    assert "\n" not in predicted
    return predicted


@pytest.mark.parametrize(
    ("backbone", "source"),
    [
        ("cnn", "none"),
        ("resnet50", "torchvision"),
        ("mobilenet_v2", "torchvision"),
        ("efficientnet_lite0", "package"),
        ("efficientnet_lite1", "package"),
        ("efficientnet_lite2", "package"),
    ],
)
def test_each_backbone_has_default_weights(base_recipe, changed, backbone, source):
    _, result = backbones.check_backbone(changed(base_recipe, backbone=backbone, weights="default"))

    assert result.name == source


@pytest.mark.parametrize("weights", ["internet", "torchvision"])
def test_unknown_source_names_known_ones(base_recipe, changed, weights):
    predicted = refused(
        backbones.check_backbone, changed(base_recipe, backbone=LITE, weights=weights)
    )

    assert "default, package, none" in predicted
    assert f"'{weights}'" in predicted


def test_file_without_checksum_is_rejected(base_recipe, changed):
    predicted = refused(
        backbones.check_backbone, changed(base_recipe, weights="s3://bucket/weights.safetensors")
    )

    assert "vision.weights_sha256" in predicted
    assert "sha256sum" in predicted


def test_file_with_other_checksum_is_rejected(from_file):
    predicted = refused(from_file, "cnn", b"tampered with", sha256="0" * 64)

    assert "expected 000000000000" in predicted
    assert hashlib.sha256(b"tampered with").hexdigest()[:12] in predicted
    assert "check vision.weights_sha256" in predicted


def test_checksum_may_be_uppercase(from_file):
    content = save(backbones.BACKBONES["cnn"].make().state_dict())

    from_file("cnn", content, sha256=hashlib.sha256(content).hexdigest().upper())


def test_missing_file_is_named(base_recipe, changed, tmp_path):
    path = str(tmp_path / "no.safetensors")
    missing = changed(base_recipe, weights=path, weights_sha256="0" * 64)

    assert path in refused(backbones.build_backbone, missing)


def test_file_of_other_network_names_missing_tensors(from_file):
    content = save(backbones.BACKBONES["cnn"].make().state_dict())

    predicted = refused(from_file, "mobilenet_v2", content)

    assert "mobilenet_v2" in predicted
    assert "features.0.0.weight" in predicted


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_file_without_tensors_is_rejected(from_file, name):
    assert name in refused(from_file, "cnn", b"no weights", name)


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"model": {"weight": torch.ones(1)}, "epoch": 3}, "model, epoch"),
        ({"state_dict": {"student": {"weight": torch.ones(1)}}}, "state_dict"),
        ({"state_dict": None}, "state_dict"),
        ([torch.ones(1)], "list"),
    ],
)
def test_file_with_nested_weights_is_rejected(from_file, state, names):
    predicted = refused(from_file, "cnn", as_pth(state), "weights.pth")

    assert f"but {names}; expected a state dict of tensors" in predicted


def test_pickle_with_code_is_rejected(from_file):
    class Runs:
        def __reduce__(self):
            return (pytest.fail, ("code of the file was run",))

    predicted = refused(from_file, "cnn", as_pth({"features": Runs()}), "weights.pth")

    assert "weights" in predicted


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("weights.safetensors", save),
        ("weights.pth", as_pth),
        ("checkpoint.pth", lambda tensors: as_pth({"epoch": 3, "state_dict": tensors})),
    ],
)
def test_state_dict_with_other_classes_is_loaded(from_file, resnet50, name, write):
    built = from_file("resnet50", write(resnet50), name).state_dict()

    blocks = {name: value for name, value in resnet50.items() if name.startswith("layer")}
    assert blocks
    assert all(torch.equal(built[name], value) for name, value in blocks.items())
    assert torch.equal(built["stem.0.weight"], resnet50["conv1.weight"])
    assert not [name for name in built if name.startswith("fc")]


def test_file_may_be_a_url(base_recipe, changed, tmp_path):
    import fsspec

    tensors = backbones.BACKBONES["cnn"].make().state_dict()
    content = save(tensors)
    fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}.safetensors", content)

    built = backbones.build_backbone(
        changed(
            base_recipe,
            weights=f"memory://{tmp_path.name}.safetensors",
            weights_sha256=hashlib.sha256(content).hexdigest(),
        )
    ).state_dict()

    assert torch.equal(built["block0.0.weight"], tensors["features.0.0.weight"])


@pytest.mark.parametrize("error", [URLError("no route to host"), ConnectionResetError("reset")])
def test_failed_download_gives_one_line_with_remedy(base_recipe, changed, monkeypatch, error):
    weights = import_torchvision().models.MobileNet_V2_Weights

    def unreachable(*_, **__):
        raise error

    monkeypatch.setattr(weights, "get_state_dict", unreachable)

    predicted = refused(
        backbones.build_backbone, changed(base_recipe, backbone="mobilenet_v2", weights="default")
    )

    assert "download.pytorch.org" in predicted
    assert "vision.weights_sha256" in predicted


def test_torchvision_download_is_loaded(base_recipe, changed, monkeypatch):
    torch.manual_seed(5)
    tensors = backbones.BACKBONES["mobilenet_v2"].make().state_dict()
    weights = import_torchvision().models.MobileNet_V2_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: tensors)

    built = backbones.build_backbone(
        changed(base_recipe, backbone="mobilenet_v2", weights="default")
    ).state_dict()

    assert torch.equal(built["block0.0.weight"], tensors["features.0.0.weight"])


@pytest.mark.parametrize(
    ("known", "predicted"),
    [
        ({"sha256": "0" * 64}, "000000000000…"),
        ({"package": "no_such_weights"}, "no-such-weights"),
    ],
)
def test_wrong_package_gives_one_line(base_recipe, changed, monkeypatch, known, predicted):
    lite = backbones.BACKBONES[LITE]
    changed_package = lite._replace(packaged=lite.packaged._replace(**known))
    monkeypatch.setitem(backbones.BACKBONES, LITE, changed_package)

    assert predicted in refused(
        backbones.build_backbone, changed(base_recipe, backbone=LITE, weights="package")
    )
