"""A stage that is killed in its middle resumes to the same content and repeats no work.

Cleaning and embedding are killed in test_full_run and test_embedding_reuse.
"""

import random
import time
from pathlib import Path

import pytest
from support.kedro_project import Place, Run
from support.killed_runs import committed, copy_lake, epochs, json_of, start_run

from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace_serving.release.loader import Release

pytestmark = pytest.mark.slow

SEED = 7


def test_killed_training_resumes_at_last_epoch(whole_run: Run, tmp_path: Path) -> None:
    stage = ("--pipeline=vision", "--to-outputs=vision_model,checkpoints")
    left_out = ("work", "vision_features.lance", "checkpoints", "releases")
    with copy_lake(whole_run.place, tmp_path, *left_out) as place:
        lake = Path(place.lake)
        with start_run(place, *stage) as run:
            run.wait_for(lambda: bool(list(lake.glob("work/*/state_0000.safetensors"))))
            run.kill()
        before, rows = epochs(lake), committed(lake)["vision_features.lance"]

        again = Run(place, place.run(*stage))

        assert before.items() <= epochs(lake).items()
        assert rows <= committed(lake)["vision_features.lance"]
        for name in ("vision_head", "vision_model"):
            assert again.place.read(name, again.version) == whole_run.place.read(
                name, whole_run.version
            )


def test_killed_text_embedding_resumes(whole_run: Run, tmp_path: Path) -> None:
    stage = ("--pipeline=text", "--to-outputs=text_index")
    with copy_lake(
        whole_run.place, tmp_path, "text_embeddings.lance", "checkpoints", "releases"
    ) as place:
        lake = Path(place.lake)
        with start_run(place, *stage) as run:
            run.wait_for(lambda: bool(committed(lake).get("text_embeddings.lance")))
            run.kill()
        rows = committed(lake)["text_embeddings.lance"]

        again = Run(place, place.run(*stage))

        assert rows <= committed(lake)["text_embeddings.lance"]
        created, expected = (
            run.place.read("text_index", run.version) for run in (again, whole_run)
        )
        assert created == expected


def test_killed_release_leaves_a_whole_release(whole_run: Run, tmp_path: Path) -> None:
    with copy_lake(whole_run.place, tmp_path, "checkpoints", "photos") as place:
        lake = Path(place.lake)
        present = set(lake.glob("07_model_output/release_measures.parquet/*"))
        with start_run(place, "--pipeline=release", "--recompute") as run:
            run.wait_for(
                lambda: set(lake.glob("07_model_output/release_measures.parquet/*")) != present
            )
            time.sleep(random.Random(SEED).uniform(0, 1))
            run.kill()
        assert _pointer(place) in {whole_run.version, *_releases(place)}
        # Its files of photos were left out: whatever the killed run wrote of them is whole.
        for path in lake.glob("07_model_output/photos/*.jpegs"):
            assert path.stem == sha256(path.read_bytes())

        version = place.run("--pipeline=release")

        assert _pointer(place) == version
        assert Release.open(place.lake).manifest.version == version
        assert _sealed(place, version) == _sealed(whole_run.place, whole_run.version)


def _pointer(place: Place) -> str:
    return str(json_of(place, "releases/current.json")["version"])


def _releases(place: Place) -> set[str]:
    return {path.stem for path in Path(place.lake).glob("releases/*.json")} - {"current"}


def _sealed(place: Place, version: str) -> dict[str, str]:
    manifest = json_of(place, f"releases/{version}.json")
    return {name: artifact["sha256"] for name, artifact in manifest["artifacts"].items()}
