"""Erasure of a listing by the command line."""

import io
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import lance
import pandas as pd
import pytest
from support.kedro_project import BIN, Place, serving

pytestmark = pytest.mark.stress


@pytest.fixture(scope="module", params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, sample: Place) -> Place:
    """The sample, with a lake of its own that a whole run has filled."""
    place = Place(sample.clone, sample.raw, "lake-to-forget")
    if request.param == "bucket":
        seaweed = request.getfixturevalue("seaweed")
        in_bucket = request.getfixturevalue("bucket")
        place = replace(in_bucket, lake=f"{seaweed.make_bucket('lake-to-forget')}/lake")
    place.run()
    return place


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Local copy of a lake in a bucket."""
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def listing(place: Place) -> dict[str, Any]:
    """A listing with photos and a title of its own, whose photos no other listing has."""
    (version,) = place.records()
    products = place.table("products", version)
    copied = set(place.table("duplicate_groups", version)["image_id"])
    photos = place.table("image_products", version)
    alone = products[(products["photos"] > 1) & ~products["title"].duplicated(keep=False)]
    others = "\n".join(products["title"] + "\n" + products["description"])
    for row in alone.itertuples():
        image_ids = photos.loc[photos["product_id"] == row.product_id, "image_id"].tolist()
        if not copied & set(image_ids) and others.count(row.title) == 1:
            table = place.photo_table().to_table(
                columns=["jpeg"], filter=f"product_id = '{row.product_id}'"
            )
            jpegs = table.column("jpeg").to_pylist()
            return {"id": row.product_id, "title": row.title, "images": image_ids, "jpegs": jpegs}
    raise AssertionError("the sample has no such listing")


def everything(place: Place, copy: Path) -> dict[str, str]:
    """All that a lake holds, decoded, by path: another way than the project's own search."""
    values = {}
    lake = Path(place.lake_path(""))
    if place.store:
        shutil.rmtree(copy, ignore_errors=True)
        place.files.get(f"{place.lake}/", f"{copy}/", recursive=True)
        lake = copy
    for path in lake.rglob("*"):
        if path.suffix == ".lance" and path.is_dir():
            dataset = lance.dataset(str(path))
            for number in [item["version"] for item in dataset.versions()]:
                pos = f"{path}@{number}"
                values[pos] = repr(dataset.checkout_version(number).to_table().to_pylist())
        elif path.suffix == ".parquet" and path.is_file():
            frame = pd.read_parquet(io.BytesIO(path.read_bytes()))
            values[str(path)] = repr(frame.to_dict("records"))
        elif path.is_file():
            values[str(path)] = path.read_bytes().decode("latin-1")
    return values


def holds(place: Place, copy: Path, listing: dict[str, Any]) -> list[str]:
    words = [listing["id"], listing["title"], *listing["images"]]
    words += [jpeg.decode("latin-1") for jpeg in listing["jpegs"]]
    words += [repr(jpeg)[2:-1] for jpeg in listing["jpegs"]]
    return [
        path
        for path, text in everything(place, copy).items()
        if any(word in text for word in words)
    ]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_erased_listing_is_gone_everywhere(
    place: Place, copy: Path, listing: dict[str, Any]
) -> None:
    (first,) = place.records()
    products = place.table("products", first)["product_id"]
    another = next(product for product in products if product != listing["id"])
    copy.parent.mkdir(exist_ok=True)
    ids = copy.parent / "ids.txt"
    ids.write_text(f"{another}\n")
    forget = ["forget", listing["id"], f"--from={ids}", f"--env={place.configuration}"]
    before = everything(place, copy).keys()
    result = holds(place, copy, listing)

    dry = place.kedro(*forget)
    assert "images.lance" in dry
    assert "--apply" in dry
    assert len(result) > 20
    assert everything(place, copy).keys() == before

    with serving(place) as address:
        assert status(f"{address}/products/{listing['id']}") == 200

    place.kedro(*forget, "--apply", "--skip-comparison")

    assert holds(place, copy, listing) == []
    (version,) = place.records()
    releases = place.files.glob(place.lake_path("releases/2*"))
    assert [PurePosixPath(path).stem for path in releases] == [version]
    with serving(place) as address:
        assert status(f"{address}/products/{listing['id']}") == 404
        assert status(f"{address}/products/{another}") == 404
        assert status(f"{address}/images/{listing['images'][0]}") == 404

    (path,) = place.files.glob(place.lake_path("receipts/*"))
    receipt = json.loads(place.files.cat_file(path))
    assert receipt["current_release"] == version
    assert receipt["remaining_hits"] == 0
    assert len(receipt["products"]) == 2
    assert receipt["in_bucket"]["photos"] >= len(listing["images"])
    report = place.json("cleaning_report", version)["ledger"]
    for part in report.values():
        assert part["in"] == part["kept"] + part["quarantined"]
        assert part["reasons"]["erased"] >= 1

    assert "already" in place.kedro(*forget, "--apply")
    values = subprocess.run(
        [str(BIN / "kedro"), "forget", "nobody-at-all", f"--env={place.configuration}"],
        cwd=place.clone,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=place.seconds,
        check=False,
    )
    assert values.returncode == 1
    assert "nobody-at-all" in values.stderr
