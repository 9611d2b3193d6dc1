"""Real listings, in place: `make test-real REAL=<folder>`, where the folder has the bucket's layout."""

import os
from dataclasses import replace
from pathlib import Path

import httpx
import pandas as pd
import pytest
from support.kedro_project import Place, Run, serving

pytestmark = pytest.mark.external

ASKED = 200
"""Photos of the test split that the server is asked about."""


@pytest.fixture(scope="session")
def listings() -> Path:
    folder = Path(os.environ["REAL"]).resolve()
    assert (folder / "Assets/Products.csv").exists(), f"{folder} has no Assets/Products.csv"
    return folder


@pytest.fixture(scope="session")
def real_run(clone, listings, tmp_path_factory) -> Run:
    lake = str(tmp_path_factory.mktemp("real") / "lake")
    # The shorter training: what is tested here is the way, not how good the network is.
    place = Place(clone, str(listings), lake, configuration="sample", seconds=1500)
    return Run(place, place.run())


@pytest.fixture(scope="session")
def bucket_run(clone, listings, seaweed) -> Run:
    raw = f"{seaweed.make_bucket('real-raw')}/raw"
    seaweed.upload(listings, raw)
    lake = f"{seaweed.make_bucket('real-lake')}/lake"
    place = Place(clone, raw, lake, seaweed.environment, configuration="sample", seconds=1500)
    return Run(place, place.run("--pipeline=cleaning"))


def rows_of(table: Path) -> int:
    read = pd.read_csv(table, lineterminator="\n", dtype=str, keep_default_na=False)
    return len(read)


def test_every_row_and_file_is_accounted_for(real_run, listings):
    ledger = real_run.json("cleaning_report")["ledger"]

    assert ledger["products"]["in"] == rows_of(listings / "Assets/Products.csv")
    assert ledger["images"]["in"] == rows_of(listings / "Assets/Images.csv")
    assert ledger["files"]["in"] == len(list((listings / "images").iterdir()))
    for account in ledger.values():
        assert account["in"] == account["kept"] + account["quarantined"]


def test_bucket_gives_the_same_content(real_run, bucket_run):
    assert bucket_run.json("content_digests") == real_run.json("content_digests")


def test_second_run_reads_no_photo_again(real_run):
    before = real_run.place.photo_table()
    again = replace(real_run.place).run("--pipeline=cleaning")
    after = real_run.place.photo_table()

    assert again in after.tags.list()
    assert after.version == before.version
    digests = real_run.place.json("content_digests", again)
    assert digests == real_run.json("content_digests")


def test_price_and_category_metrics_meet_their_targets(real_run):
    price = real_run.json("price_metrics")
    output = price["models"][price["chosen"]]["test"]
    nominal, coverage = price["interval"]["nominal"], output["interval_coverage"]
    # 95 % interval of the measured coverage, if each price is covered with the nominal probability.
    margin = 1.96 * (nominal * (1 - nominal) / coverage["cases"]) ** 0.5
    right = real_run.json("vision_metrics")["test"]["products_with_text_top1"]
    print(f"price: {output['log_r2']}, {coverage}; category, with text: {right}")

    assert output["log_r2"]["value"] >= 0.66
    assert coverage["value"] == pytest.approx(nominal, abs=margin)
    assert right["value"] >= 0.84


def test_server_finds_other_photos_at_measured_recall(real_run, listings):
    splits, copies = real_run.table("splits"), real_run.table("duplicate_groups")
    test = splits[(splits["split"] == "test") & ~splits["image_id"].isin(copies["image_id"])]
    paired = test[test.groupby("product_id")["image_id"].transform("size") == 2]
    queries = paired.sort_values("image_id").head(ASKED)
    result, itself = 0, 0
    with serving(real_run.place) as address, httpx.Client(base_url=address) as client:
        for image_id, product_id in queries[["image_id", "product_id"]].itertuples(index=False):
            photo = (listings / "images" / f"{image_id}.jpg").read_bytes()
            answer = client.post("/predict/similar_images?limit=11", files={"image": photo}).json()
            itself += answer["hits"][0]["image_id"] == image_id
            hits = [hit for hit in answer["hits"] if hit["image_id"] != image_id]
            result += product_id in {hit["product_id"] for hit in hits[:10]}
            category = client.post("/predict/image", files={"image": photo}).json()
            assert sum(category["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    measured = real_run.json("retrieval_metrics")["all_photos"]["same_product_recall_at_10"]
    print(f"the other photo among ten hits: {result} of {len(queries)}; measured {measured}")

    assert itself == len(queries)
    assert result / len(queries) == pytest.approx(measured["value"], abs=0.1)
