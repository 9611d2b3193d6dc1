"""A lake with one tiny release: its encoder knows a photo by its mean colour."""

import io
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support import seaweed as seaweedfs
from support.builders import small_release
from support.builders.small_search import SHOP, SHOP_DATES, SHOP_PHOTOS

import fb_marketplace_serving
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical as photos
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import Manifest
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.storage import s3
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

LABELS = ("Reds", "Greens", "Blues")
DIMENSION = 8
COLOURS = {
    "img-red": (220, 30, 30),
    "img-green": (30, 200, 40),
    "img-blue": (20, 40, 210),
    "img-yellow": (230, 220, 40),
    "img-grey": (128, 128, 128),
}

BuildEncoder = Callable[..., bytes]
Paint = Callable[..., bytes]


def _build_encoder(
    *,
    classes: int = len(LABELS),
    dimension: int = DIMENSION,
    input_name: str = "pixels",
    input_type: int = TensorProto.UINT8,
    batch: int | str = "n",
    side: int = photos.SIDE,
    embedding_name: str = "embedding",
    seed: int = 7,
) -> bytes:
    """Mean colour → two linear heads: one through a softmax, one scaled to length one."""
    random = np.random.default_rng(seed)
    heads = {
        "to_classes": np.eye(3, classes, dtype=np.float32) * 9,
        "to_embedding": random.normal(size=(3, dimension)).astype(np.float32),
        "white": np.float32([255]),
        "across": np.int64([1, 2]),
    }
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "across"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["colour"]),
        helper.make_node("MatMul", ["colour", "to_classes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["colour", "to_embedding"], ["long"]),
        helper.make_node("LpNormalization", ["long"], [embedding_name], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [helper.make_tensor_value_info(input_name, input_type, [batch, side, side, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info(embedding_name, TensorProto.FLOAT, [batch, dimension]),
        ],
        [numpy_helper.from_array(value, name) for name, value in heads.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _paint(
    colour: object = (220, 30, 30), size: tuple[int, int] = (320, 240), format_: str = "JPEG"
) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture(scope="session")
def build_encoder() -> BuildEncoder:
    return _build_encoder


@pytest.fixture(scope="session")
def paint() -> Paint:
    return _paint


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.from_bytes(_build_encoder(), threads=1)


@pytest.fixture(scope="session")
def canonical_photos() -> dict[str, bytes]:
    return {name: photos.canonicalize(_paint(colour)) for name, colour in COLOURS.items()}


@pytest.fixture
def listing_columns() -> dict[str, pa.Array]:
    count = len(COLOURS)
    return {
        "product_id": pa.array([f"prd-{name[4:]}" for name in COLOURS], pa.string()),
        "title": pa.array([f"A {name[4:]} chair" for name in COLOURS], pa.string()),
        "price": pa.array([10.0, 20.5, None, float("nan"), 1000.0], pa.float64()),
        "currency": pa.array(["GBP"] * count, pa.string()),
        "category": pa.array(["Home & Garden"] * count, pa.string()),
        "category_path": pa.array(["Home & Garden / Chairs"] * count, pa.string()),
        "town": pa.array(["Leeds", None, "York", "Bath", "Hull"], pa.string()),
        "county": pa.array([None] * count, pa.string()),
        "price_flag": pa.array([None] * count, pa.string()),
        "created_at": pa.array([1_645_870_272, None, 1_640_995_200, 0, None], pa.int64()),
    }


MakeRelease = Callable[..., Manifest]


@pytest.fixture
def make_release(
    tmp_path: Path, canonical_photos: dict[str, bytes], listing_columns: dict[str, pa.Array]
) -> MakeRelease:
    """Make a release whose artifacts lie in ``tmp_path``, and give its manifest; it is not published.

    Its ids may begin with a prefix of their own.
    """

    def make(
        version: str, prefix: str = "", folder: str = "model", searchable: bool = False
    ) -> Manifest:
        products = [f"{prefix}prd-{name[4:]}" for name in canonical_photos]
        return small_release.make_release(
            tmp_path,
            _build_encoder(),
            {f"{prefix}{name}": jpeg for name, jpeg in canonical_photos.items()},
            pa.table(listing_columns | {"product_id": pa.array(products, pa.string())}),
            LABELS,
            version=version,
            folder=folder,
            canary=1,
            searchable=searchable,
        )

    return make


@pytest.fixture
def make_shop(tmp_path: Path, canonical_photos: dict[str, bytes]) -> MakeRelease:
    """Make a release that can be searched by words, and give its manifest; it is not published."""
    return _shop_maker(tmp_path, canonical_photos)


def _shop_maker(root: Path, canonical_photos: dict[str, bytes]) -> MakeRelease:
    def make(
        version: str = "v1",
        shop: Mapping[str, tuple[object, ...]] = SHOP,
        photos_of: Mapping[str, str] = SHOP_PHOTOS,
        folder: str = "model",
        canonical: Mapping[str, bytes] = canonical_photos,
        descriptions: Mapping[str, str] | None = None,
    ) -> Manifest:
        rows = [
            {
                "product_id": product,
                "title": title,
                "price": price,
                "currency": "GBP",
                "category": str(path).split(" / ")[0],
                "category_path": path,
                "town": town,
                "county": None,
                "price_flag": None,
                "created_at": SHOP_DATES.get(product),
            }
            for product, (title, price, path, town) in shop.items()
        ]
        types = {name: pa.string() for name in rows[0]} | {
            "price": pa.float64(),
            "created_at": pa.int64(),
        }
        return small_release.make_release(
            root,
            _build_encoder(),
            {name: canonical[name] for name in photos_of},
            pa.Table.from_pylist(rows, pa.schema(types)),
            LABELS,
            version=version,
            folder=folder,
            of=list(photos_of.values()),
            searchable=True,
            same={"p-copy": "p-chair"},
            displays={
                name: small_release.draw_display(name) for name in photos_of if name == "img-red"
            },
            descriptions=descriptions,
        )

    return make


@pytest.fixture
def shop_draft(make_shop: MakeRelease) -> Manifest:
    """The manifest of a release that can be searched by words; not yet published."""
    return make_shop()


@pytest.fixture
def shop(tmp_path: Path, shop_draft: Manifest) -> str:
    """A lake with a release that can be searched by words."""
    publish(Lake(str(tmp_path)), shop_draft)
    return str(tmp_path)


@pytest.fixture(scope="session")
def shop_in_common(
    tmp_path_factory: pytest.TempPathFactory, canonical_photos: dict[str, bytes]
) -> str:
    """As ``shop``, for tests that only read it: one a session."""
    root = tmp_path_factory.mktemp("shop")
    publish(Lake(str(root)), _shop_maker(root, canonical_photos)())
    return str(root)


@pytest.fixture(scope="session")
def opened_shop(shop_in_common: str) -> Release:
    return Release.open(shop_in_common)


@pytest.fixture
def draft(make_release: MakeRelease) -> Manifest:
    """The manifest of a release whose artifacts lie in ``tmp_path``; not yet published."""
    return make_release("v1")


@pytest.fixture
def lake(tmp_path: Path, draft: Manifest) -> str:
    publish(Lake(str(tmp_path)), draft)
    return str(tmp_path)


@pytest.fixture
def release(lake: str) -> Release:
    return Release.open(lake)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that is to import the package under test."""
    source = str(Path(fb_marketplace_serving.__file__).parents[1])
    remaining = {name: value for name, value in os.environ.items() if not name.startswith("FB_")}
    return remaining | {"PYTHONPATH": source}


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a server; it is gone when the test ends."""
    yield from _started(environment)


@pytest.fixture(scope="module")
def serve_in_common(
    environment: dict[str, str],
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a server that is gone when the tests of the module have ended."""
    yield from _started(environment)


def _started(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fb_marketplace_serving.cli.main", "run", *arguments],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[seaweedfs.Seaweed]:
    with seaweedfs.running() as server:
        yield server


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Makes this process an S3 client of one identity, with nothing kept of another."""

    def become(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        RetryingS3FileSystem.clear_instance_cache()

    yield become
    RetryingS3FileSystem.clear_instance_cache()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails or denies access is asked again as often as ever, but at once."""
    monkeypatch.setattr(s3, "S3_POLICY", replace(s3.S3_POLICY, max_wait_s=0.02))
    monkeypatch.setattr(s3, "DENIED_DEADLINE_S", 0.2)


@pytest.fixture(scope="session")
def common_bucket(seaweed: seaweedfs.Seaweed) -> str:
    """The URL of a bucket in which every test has a folder of its own; a new bucket takes long."""
    return seaweed.make_bucket("common")


@pytest.fixture
def bucket(
    seaweed: seaweedfs.Seaweed, common_bucket: str, become: Callable[[dict[str, str]], None]
) -> str:
    """The URL of an empty lake in a bucket that this process may write."""
    become(seaweed.environment)
    return f"{common_bucket}/{uuid.uuid4().hex}/lake"
