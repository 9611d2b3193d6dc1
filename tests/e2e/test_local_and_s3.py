"""The same marketplace gives the same lake, whether its roots are folders or buckets."""

import json
import urllib.request

import pytest
from support.kedro_project import Place, Run, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket_run(bucket: Place) -> Run:
    """The whole way, once, in buckets."""
    return Run(bucket, bucket.run())


def test_cleaning_gives_the_same_content(whole_run: Run, bucket_run: Run) -> None:
    in_folders, in_buckets = (run.json("cleaning_report") for run in (whole_run, bucket_run))

    assert in_buckets["digests"] == in_folders["digests"]
    assert in_buckets == in_folders


def test_release_in_bucket_is_served(bucket_run: Run) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with (
        serving(bucket_run.place) as address,
        direct.open(f"{address}/healthcheck", timeout=10) as response,
    ):
        assert json.load(response) == {"status": "ok", "release": bucket_run.version}


def test_embeddings_are_exported_as_json_in_bucket(bucket_run: Run) -> None:
    place = bucket_run.place

    written = json.loads(place.read("image_embeddings", place.run("--pipeline=embeddings_json")))

    photos = place.photo_table().to_table(columns=["image_id"]).column("image_id").to_pylist()
    assert list(written) == sorted(photos)
    dimension = bucket_run.json("embeddings_report")["dimension"]
    assert {len(vector) for vector in written.values()} == {dimension}


def test_second_run_reuses_photos_and_makes_new_release(bucket_run: Run) -> None:
    place = bucket_run.place
    photos = place.photo_table()
    before = photos.version, photos.count_rows()

    again = Run(place, place.run("--pipelines=cleaning,release"))

    photos = place.photo_table()
    assert (photos.version, photos.count_rows()) == before
    assert _tagged(photos)[again.version] == _tagged(photos)[bucket_run.version]
    assert again.json("cleaning_report")["digests"] == bucket_run.json("cleaning_report")["digests"]
    pointer = json.loads(place.files.cat_file(place.lake_path("releases/current.json")))
    assert pointer["version"] == again.version != bucket_run.version
    assert place.files.exists(place.lake_path(f"releases/{bucket_run.version}.json"))


def _tagged(photos: object) -> dict[str, int]:
    return {name: tag["version"] for name, tag in photos.tags.list().items()}  # type: ignore[attr-defined]
