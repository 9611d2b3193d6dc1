"""The same marketplace gives the same lake, whether its roots are folders or buckets."""

import json
import urllib.request
from typing import Any

import httpx
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


def test_search_engines_give_same_answers_in_bucket(bucket_run: Run) -> None:
    place = bucket_run.place
    with serving(place) as address:
        expected = _answers(address)

    version = place.run("--pipeline=release", "--params=search.engine=lance", recompute=False)

    manifest = json.loads(place.files.cat_file(place.lake_path(f"releases/{version}.json")))
    assert manifest["vector_tables"].keys() == {"image_index", "text_index", "text_to_image_index"}
    assert not manifest["vector_tables"].keys() & manifest["artifacts"].keys()
    with serving(place) as address:
        assert _answers(address) == expected


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


def _answers(address: str) -> list[Any]:
    """The hits of searches by words, by a photo and by both, with and without filters."""
    answers = []
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        everything = client.get("/search").json()
        category = everything["categories"][0]["path"]
        title = everything["hits"][0]["title"]
        image_id = next(hit["image_id"] for hit in everything["hits"] if hit["image_id"])
        photo = {"image": client.get(f"/images/{image_id}").content}
        for filters in ({}, {"category": category}, {"max_price": 50}):
            for words in ({}, {"q": title}):
                for files in (None, photo):
                    if words or files:
                        method = "POST" if files else "GET"
                        params = {"min_relevance": 0} | words | filters
                        answer = client.request(method, "/search", params=params, files=files)
                        assert answer.status_code == 200, answer.text
                        answers.append(answer.json()["hits"])
    assert all(answers)
    return answers


def _tagged(photos: object) -> dict[str, int]:
    return {name: tag["version"] for name, tag in photos.tags.list().items()}  # type: ignore[attr-defined]
