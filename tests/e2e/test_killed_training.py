"""A training of hours that is killed loses minutes, and comes to the same model."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from support.kedro_project import Place, Run
from support.killed_runs import BackgroundRun, copy_lake, start_run

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import BACKBONES, POOL
from fb_marketplace.pipelines.vision.models.network import load_trained_network
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content

pytestmark = pytest.mark.stress

RECIPES = {
    "cnn": "trainable_blocks=-1,side=96",
    # As recommended: depthwise layers, and a process that reads ahead.
    "efficientnet_lite0": "trainable_blocks=-1,side=160,workers=1",
    "resnet50": "trainable_blocks=2,side=96",
}
"""With photos so large that an epoch lasts long enough to be killed in."""
TRAINING = ("--pipeline=vision", "--to-outputs=vision_model,checkpoints")


@pytest.fixture(scope="module")
def cleaned(sample: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lake with all that vision reads, and nothing more."""
    place = Place(sample.clone, sample.raw, str(tmp_path_factory.mktemp("cleaned") / "lake"))
    place.run("--pipelines=cleaning,baselines")
    return place


@pytest.fixture
def copied(cleaned: Place, tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    """Copies the lake; the copies are deleted after the test, because pytest would keep gigabytes."""
    with contextlib.ExitStack() as copies:
        yield lambda name: copies.enter_context(copy_lake(cleaned, tmp_path / name))


@pytest.mark.parametrize("backbone", RECIPES)
def test_killed_training_resumes_to_the_same_bytes(
    copied: Callable[[str], Place], backbone: str
) -> None:
    undisturbed, killed = copied("undisturbed"), copied("killed")
    values = _parameters(backbone)
    expected = Run(undisturbed, undisturbed.run(*TRAINING, values))
    with start_run(killed, *TRAINING, values) as run:
        _wait_for_middle_of_epoch_2(killed, run)
        run.kill()
    trained = _in_work(killed, "epoch_0001.safetensors").stat()
    assert _states(killed) == ["state_0001.safetensors"], "it was to be killed in epoch 2"
    assert not list(Path(killed.lake).glob("06_models/vision_model.safetensors/*"))

    went_on = Run(killed, killed.run(*TRAINING, values))

    again = _in_work(killed, "epoch_0001.safetensors").stat()
    assert (again.st_mtime_ns, again.st_ino) == (trained.st_mtime_ns, trained.st_ino)
    assert len(_checkpoints(went_on)) == 1 + 3
    differing = [
        name for name, weights in _weights(expected).items() if _weights(went_on)[name] != weights
    ]
    assert differing == []


def _parameters(backbone: str) -> str:
    """The parameters of a recipe, as `kedro run` takes them."""
    values = dict(item.split("=") for item in RECIPES[backbone].split(","))
    side = values.pop("side")
    tuned = {"epochs": "3", "augmentation.crop_size": side, **values}
    parameters = {"backbone": backbone, "weights": "none", "input_side": side}
    parameters |= {f"fine_tuning.{name}": value for name, value in tuned.items()}
    return "--params=" + ",".join(f"vision.{name}={value}" for name, value in parameters.items())


@dataclass(frozen=True)
class OfResnet50:
    """All of vision with the last block of a ResNet50, from a file of weights, and that file's tensors."""

    run: Run
    weights: Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def resnet50(cleaned: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfResnet50]:
    torch.manual_seed(23)
    weights = BACKBONES["resnet50"].make().state_dict()
    folder = tmp_path_factory.mktemp("resnet50")
    path = folder / "weights.safetensors"
    path.write_bytes(save(weights))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with copy_lake(cleaned, folder) as place:
        version = place.run(
            "--pipeline=vision",
            f"--params=vision.backbone=resnet50,vision.weights={path},"
            f"vision.weights_sha256={digest},vision.weights_license=bsd-3-clause,"
            "vision.fine_tuning.trainable_blocks=1,vision.embedding.layer=fc.1",
        )
        yield OfResnet50(Run(place, version), weights)
    path.unlink()


def test_resnet50_is_trained_from_weights_file(resnet50: OfResnet50) -> None:
    before, after = (load(path.read_bytes()) for path in _checkpoints(resnet50.run))

    for name, value in resnet50.weights.items():
        if name.startswith("layer"):
            assert torch.equal(before[f"trunk.{name}"], value), name
    assert torch.equal(after["trunk.layer3.0.conv1.weight"], before["trunk.layer3.0.conv1.weight"])
    assert not torch.equal(
        after["trunk.layer4.0.conv1.weight"], before["trunk.layer4.0.conv1.weight"]
    )


def test_resnet50_is_exported_with_hidden_layer_as_embedding(resnet50: OfResnet50) -> None:
    run = resnet50.run
    served = run.place.read("encoder", run.version)
    created = [run.place.read(name, run.version) for name in ("encoder_fp32", "encoder_int8")]

    for graph in created:
        encoder = Encoder.from_bytes(graph)
        assert encoder.dimension == 1000
        assert encoder.classes == len(run.json("vision_labels"))
    assert served in created


def test_resnet50_embedding_equals_torch_hidden_layer(
    resnet50: OfResnet50, base_parameters: dict[str, Any]
) -> None:
    run = resnet50.run
    weights = run.place.read("vision_model", run.version)
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    made_of = json.loads(header["__metadata__"]["card"])["recipe"]
    rest = {name: base_parameters["vision"][name] for name in ("embedding", "encoder")}
    values = VisionParameters.model_validate(made_of | rest)
    network = load_trained_network(weights, len(run.json("vision_labels")), values)
    jpegs = run.place.photo_table().take([0, 1, 2], columns=["jpeg"]).column("jpeg").to_pylist()
    pixels = np.stack([stretch_content(canonical.decode_canonical(jpeg)) for jpeg in jpegs])
    with torch.no_grad():
        hidden = network.head.embed(network.maps(torch.from_numpy(pixels))[POOL]).numpy()

    result = Encoder.from_bytes(run.place.read("encoder_fp32", run.version)).encode(pixels)

    expected = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    np.testing.assert_allclose(result.embeddings, expected, atol=1e-4)


def test_resnet50_is_evaluated(resnet50: OfResnet50) -> None:
    measured = resnet50.run.json("vision_metrics")["test"]["photos_top1"]

    assert 0 <= measured["low"] <= measured["value"] <= measured["high"] <= 1
    assert measured["cases"] > 0


def _checkpoints(run: Run) -> list[Path]:
    return sorted(
        Path(run.place.lake_path(f"06_models/checkpoints/{run.version}/checkpoints")).iterdir()
    )


def _weights(run: Run) -> dict[str, bytes]:
    """The model and all checkpoints, by name."""
    model = run.place.read("vision_model", run.version)
    return {"vision_model": model} | {path.name: path.read_bytes() for path in _checkpoints(run)}


def _states(place: Place) -> list[str]:
    return sorted(path.name for path in Path(place.lake).glob("work/*/state_*.safetensors"))


def _in_work(place: Place, name: str) -> Path:
    (path,) = Path(place.lake).glob(f"work/*/{name}")
    return path


def _wait_for_middle_of_epoch_2(place: Place, run: BackgroundRun) -> None:
    """Wait until epoch 1 is saved, and then for a part of the time that it took."""
    started = _wait_for_state(place, run, "state_0000.safetensors")
    seconds = _wait_for_state(place, run, "state_0001.safetensors") - started
    time.sleep(0.2 * seconds)
    assert run.process.poll() is None, "the run ended before it was killed"


def _wait_for_state(place: Place, run: BackgroundRun, name: str) -> float:
    run.wait_for(lambda: name in _states(place))
    return time.monotonic()
