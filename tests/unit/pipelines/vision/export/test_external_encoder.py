import hashlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.export.encoder_selection import select_encoder
from fb_marketplace.pipelines.vision.export.external_encoder import (
    join_encoders,
    load_external_encoder,
    select_external_weight,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging.canonical import SIDE

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
LABELS = ["Red", "Green", "Blue"]
GRAPH = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
tiny (float[{photos},3,{side},{side}] image) => (float[{photos},5] pooled, float[{photos},3,1,1] means)
<float[3,5] weights = {{1, 2, 3, 4, 5, -1, 0, 1, 2, 1, 3, 1, 0, 1, 2}}> {{
  means = GlobalAveragePool(image)
  flat = Flatten(means)
  pooled = MatMul(flat, weights)
}}"""


@pytest.fixture
def external(tmp_path):
    """Write a tiny encoder; return the parameters that describe it."""

    def write(opset=17, side=64, photos="n", ir=8, **values):
        text = GRAPH.format(opset=opset, side=side, photos=photos, ir=ir)
        content = parser.parse_model(text).SerializeToString()
        path = tmp_path / "tiny.onnx"
        path.write_bytes(content)
        described = {
            "onnx": str(path),
            "sha256": hashlib.sha256(content).hexdigest(),
            "license": "mit",
            "input_side": 64,
            "mean": MEAN,
            "std": STD,
            "output": "pooled",
        }
        return described | values

    return write


@pytest.fixture
def recipe(base_recipe, changed):
    """Return a recipe with an external encoder."""

    def make(described) -> VisionParameters:
        return VisionParameters.model_validate(
            base_recipe.model_dump() | {"external_encoder": described}
        )

    return make


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def expected_vectors(pixels, order=(0, 1, 2)):
    # Bilinear resizing by a factor of four reads the two pixels in the middle of each four.
    read = pixels[..., list(order)].astype(np.float64) / 255
    pairs = (read[:, 1::4] + read[:, 2::4]) / 2
    resized = (pairs[:, :, 1::4] + pairs[:, :, 2::4]) / 2
    means = ((resized - MEAN) / STD).mean(axis=(1, 2))
    weights = np.array([[1, 2, 3, 4, 5], [-1, 0, 1, 2, 1], [3, 1, 0, 1, 2]])
    vectors = means @ weights
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("opset", "channels", "order"),
    [(11, "rgb", (0, 1, 2)), (18, "bgr", (2, 1, 0)), (21, "rgb", (0, 1, 2))],
)
def test_photos_are_prepared_as_described(external, recipe, pixels, opset, channels, order):
    config = recipe(external(opset, channel_order=channels)).external_encoder

    encoder = Encoder.from_bytes(load_external_encoder(config), threads=1)

    assert (encoder.classes, encoder.dimension) == (1, 5)
    embeddings = encoder.encode(pixels).embeddings
    np.testing.assert_allclose(embeddings, expected_vectors(pixels, order), atol=1e-4)


@pytest.mark.parametrize("opset", [17, 21])
def test_joined_similarity_is_the_weighted_mean(external, recipe, exported, pixels, opset):
    other = load_external_encoder(recipe(external(opset)).external_encoder)

    joined = Encoder.from_bytes(join_encoders(exported, other, 0.3), threads=1).encode(pixels)

    first, second = (
        Encoder.from_bytes(graph, threads=1).encode(pixels) for graph in (exported, other)
    )
    similarity = 0.7 * first.embeddings @ first.embeddings.T
    similarity += 0.3 * second.embeddings @ second.embeddings.T
    np.testing.assert_allclose(joined.embeddings @ joined.embeddings.T, similarity, atol=1e-4)
    np.testing.assert_allclose(joined.probabilities, first.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("graph", "values", "expected"),
    [
        ({}, {"sha256": "0" * 64}, ["check vision.external_encoder.sha256", "expected 0000000000"]),
        ({}, {"onnx": "/none.onnx"}, ["/none.onnx", "set vision.external_encoder.onnx"]),
        ({"side": 224}, {}, ["224 x 224", "input_side, 64", "Set it to 224"]),
        ({"photos": "1"}, {}, ["batches of 1", "dynamic first axis"]),
        ({}, {"output": "embedding"}, ["no output 'embedding'", "pooled, means"]),
        ({}, {"output": "means"}, ["(2, 3, 1, 1)", "pooled features"]),
    ],
)
def test_unfit_encoder_gives_one_line(external, recipe, graph, values, expected):
    config = recipe(external(**graph) | values).external_encoder

    with pytest.raises(UserError) as error:
        load_external_encoder(config)

    assert "\n" not in str(error.value)
    for text in expected:
        assert text in str(error.value)


def test_file_that_is_no_graph_gives_one_line(external, recipe, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    described = external(onnx=str(tmp_path / "no.onnx"), sha256=digest)

    with pytest.raises(UserError, match="cannot be opened"):
        load_external_encoder(recipe(described).external_encoder)


@pytest.mark.parametrize("missing", ["license", "sha256"])
def test_missing_description_names_the_parameter(external, recipe, missing):
    described = external()
    del described[missing]

    with pytest.raises(ValueError, match=rf"external_encoder\n.*{missing} is missing; expected"):
        recipe(described)


@pytest.fixture
def grouped(marketplace):
    """The splits with pairs of validation photos of one color as groups."""
    splits, colors = marketplace.splits.copy(), marketplace.products.set_index("product_id")
    validation = splits["split"] == "validation"
    splits.loc[validation, "group"] = (
        colors["category"].loc[splits["product_id"]].to_numpy()[validation]
    )
    return splits


@pytest.fixture
def constant(colour_encoder, tmp_path):
    """A trained encoder that gives all photos almost the same embedding."""
    graph = onnx.load_from_string(colour_encoder)
    for item in graph.graph.initializer:
        values = numpy_helper.to_array(item)
        if item.name == "bright":
            item.CopyFrom(numpy_helper.from_array(values * 0, "bright"))
    path = tmp_path / "constant.onnx"
    path.write_bytes(graph.SerializeToString())
    return FileRef(str(path))


def test_weight_is_selected_on_validation(external, recipe, marketplace, grouped, constant):
    parts = (marketplace.images, marketplace.products, grouped)

    selection = select_external_weight(constant, *parts, recipe(external()))

    recalls = {float(weight): recall for weight, recall in selection["recall_at_1"].items()}
    assert selection["photos"] == 6
    assert recalls[selection["weight"]] == max(recalls.values())
    assert all(
        recalls[weight] < max(recalls.values())
        for weight in recalls
        if weight < selection["weight"]
    )


def test_weight_needs_a_group_with_two_photos(external, recipe, marketplace, constant):
    parts = (marketplace.images, marketplace.products, marketplace.splits)

    with pytest.raises(InsufficientDataError, match="two photos"):
        select_external_weight(constant, *parts, recipe(external()))


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_served_encoder_and_its_licenses(external, recipe, marketplace, constant, weight):
    selection = {"weight": weight, "recall_at_1": {}, "photos": 6}
    parts = (marketplace.images, marketplace.products, marketplace.splits, LABELS)

    served = select_encoder(
        constant, constant, constant, selection, *parts, recipe(external()), None
    )

    joined = Encoder.from_bytes(served.encoder, threads=1)
    alone = Encoder.from_bytes(constant.read(), threads=1)
    assert joined.dimension == alone.dimension + (5 if weight else 0)
    assert [one["license"] for one in served.report["weights"]] == (["mit"] if weight else [])
