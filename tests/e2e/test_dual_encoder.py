"""A dual encoder of open_clip, from a folder: exported, released, served, searched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import lance
import numpy as np
import pytest
import torch
from support.builders import tiny_dual_encoder as tiny
from support.kedro_project import Run, serving
from support.killed_runs import copy_lake, json_of

from fb_marketplace_serving.release.loader import Release

pytestmark = pytest.mark.slow

WORDS = "red table"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks") / "clip"


@pytest.fixture(scope="module")
def parameters(folder: Path) -> dict[str, str]:
    return tiny.write_dual_encoder(folder)


@pytest.fixture(scope="module")
def run(
    whole_run: Run, parameters: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """A run with the dual encoder, on a copy of the lake of the full run."""
    values = {"release.compare_with_current": "false"}
    values |= {f"search.{name}": value for name, value in parameters.items()}
    options = ",".join(f"{name}={value}" for name, value in values.items())
    with copy_lake(whole_run.place, tmp_path_factory.mktemp("dual"), "checkpoints") as place:
        yield Run(place, place.run(f"--params={options}", recompute=False))


@pytest.fixture(scope="module")
def words_vector(folder: Path) -> np.ndarray[Any, Any]:
    """The words, encoded by open_clip itself."""
    import open_clip

    network = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        vector: np.ndarray[Any, Any] = network.encode_text(tokenizer([WORDS]), normalize=True)[
            0
        ].numpy()
    return vector


def test_released_vectors_equal_those_of_the_network(
    run: Run, words_vector: np.ndarray[Any, Any]
) -> None:
    search = Release.open(run.place.lake_path("").rstrip("/"), run.version).search
    assert search is not None
    assert search.text_to_image_index is not None

    vector = search.text_encoder.encode([WORDS]).text_to_image_embedding[0]

    np.testing.assert_allclose(vector, words_vector, atol=1e-4)
    assert run.json("dual_encoder_report")["max_difference"] <= 1e-4
    stored = lance.dataset(run.place.lake_path("07_model_output/dual_image_embeddings.lance"))
    rows = {row["image_id"]: row["features"] for row in stored.to_table().to_pylist()}
    index = search.text_to_image_index
    expected = np.array([rows[image] for image in index.image_ids])
    np.testing.assert_allclose(index.vectors(np.arange(len(index))), expected, atol=1e-6)


def test_release_names_source_and_license(run: Run, parameters: dict[str, str]) -> None:
    manifest = json_of(run.place, f"releases/{run.version}.json")

    assert manifest["weights"][-1] == {
        "name": "dual encoder",
        "source": "folder clip",
        "sha256": parameters["dual_encoder_sha256"],
        "license": "mit",
    }
    assert {"dual_text_encoder", "dual_tokenizer"} < manifest["artifacts"].keys()


def test_recall_of_titles_is_that_of_the_dual_encoder(run: Run, whole_run: Run) -> None:
    with_dual, without = (one.json("ranking_metrics")["text_to_image"] for one in (run, whole_run))

    assert with_dual["photos"] == without["photos"]
    assert with_dual["recall_at_10"] != without["recall_at_10"]


def test_zero_shot_categories_are_compared_with_the_classifier(run: Run, whole_run: Run) -> None:
    metrics = run.json("zero_shot_metrics")["test"]
    trained = whole_run.json("vision_metrics")["test"]["photos_top1"]

    assert metrics["top1"]["cases"] == trained["cases"]
    gain = trained["value"] - metrics["top1"]["value"]
    assert metrics["gain_of_classifier"]["value"] == pytest.approx(gain, abs=1e-3)


def test_words_search_the_vectors_of_the_dual_encoder(
    run: Run, words_vector: np.ndarray[Any, Any]
) -> None:
    stored = lance.dataset(run.place.lake_path("07_model_output/dual_image_embeddings.lance"))
    similarity = {
        row["image_id"]: float(np.dot(row["features"], words_vector))
        for row in stored.to_table().to_pylist()
    }

    with serving(run.place) as server:
        hits = httpx.get(f"{server}/search", params={"q": WORDS}).json()["hits"]

    found = {
        hit["image_id"]: source["similarity"]
        for hit in hits
        for source in hit["sources"]
        if source["source"] == "text_to_image"
    }
    assert found
    assert found == pytest.approx({image: similarity[image] for image in found}, abs=1e-3)
