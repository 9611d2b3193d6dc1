import hashlib
import itertools
import subprocess
import sys

import pytest

from fb_marketplace.sample.bucket import MIN_PRODUCTS, generate_bucket

from .conftest import SEED, DrawnLake


def tables(seed: int, products: int) -> list[bytes]:
    files = generate_bucket(products, seed).files()
    return [next(files)[1], next(files)[1]]


def test_bytes_are_deterministic_for_a_seed(lake: DrawnLake) -> None:
    again = itertools.islice(generate_bucket(MIN_PRODUCTS, SEED).files(), 60)

    assert dict(again) == dict(itertools.islice(lake.files.items(), 60))


def test_bytes_do_not_depend_on_hash_order(lake: DrawnLake) -> None:
    script = (
        "import hashlib, itertools\n"
        "from fb_marketplace.sample.bucket import generate_bucket\n"
        f"files = generate_bucket({MIN_PRODUCTS}, {SEED}).files()\n"
        "content = b''.join(body for _, body in itertools.islice(files, 12))\n"
        "print(hashlib.sha256(content).hexdigest())\n"
    )
    here = hashlib.sha256(b"".join(list(lake.files.values())[:12])).hexdigest()

    present = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert present.stdout.strip() == here


def test_other_seed_gives_other_tables() -> None:
    assert tables(SEED, MIN_PRODUCTS) != tables(SEED + 1, MIN_PRODUCTS)


def test_tables_are_first_and_ground_truth_last(lake: DrawnLake) -> None:
    assert lake.order[:2] == ("Assets/Products.csv", "Assets/Images.csv")
    assert lake.order[-1] == "ground_truth.json"
    assert all(key.startswith("images/") for key in lake.order[2:-1])


def test_keys_are_unique(lake: DrawnLake) -> None:
    keys = [key for key, _ in zip(lake.order, lake.files, strict=True)]

    assert len(keys) == lake.truth["counts"]["files"] + 3


def test_bucket_too_small_for_faults_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"\b59\b.*\b60\b"):
        generate_bucket(MIN_PRODUCTS - 1, SEED)


def test_negative_seed_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"-1|seed"):
        generate_bucket(MIN_PRODUCTS, -1)


def test_import_loads_nothing_heavy() -> None:
    script = (
        "import sys; import fb_marketplace.sample.bucket\n"
        "print(sorted({'numpy', 'PIL', 'torch', 'kedro'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "[]"
