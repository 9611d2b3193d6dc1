import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save

from fb_marketplace.pipelines.vision.export import encoder_selection
from fb_marketplace.pipelines.vision.export.block_features import extract_block_features
from fb_marketplace.pipelines.vision.export.encoder_selection import (
    calibrate_encoder,
    export_encoder,
    quantize_encoder,
    select_encoder,
)
from fb_marketplace.pipelines.vision.models.network import make_network, network_weights
from fb_marketplace.schemas.lance import VISION_FEATURES
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef

CHANNELS = ["Red", "Green", "Blue"]
"""What the encoder of mean colours tells apart, in its order."""


@pytest.fixture
def stored(tmp_path):
    def store(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return FileRef(str(tmp_path / name))

    return store


@pytest.fixture
def colours(colour_encoder, stored):
    """An encoder that tells the category of every photo by its mean colour."""
    return stored(colour_encoder, "colours")


@pytest.fixture
def wrong(colour_encoder, stored):
    """One that names the faintest colour instead, with the same embeddings."""
    graph = onnx.load_from_string(colour_encoder)
    (bright,) = (item for item in graph.graph.initializer if item.name == "bright")
    bright.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(bright), "bright"))
    return stored(graph.SerializeToString(), "wrong")


@pytest.fixture
def shifted(colour_encoder, stored):
    """One whose answers are right and whose embeddings are others: of another norm."""
    graph = onnx.load_from_string(colour_encoder)
    (normalised,) = (item for item in graph.graph.node if item.op_type == "LpNormalization")
    (norm,) = (item for item in normalised.attribute if item.name == "p")
    norm.i = 1
    return stored(graph.SerializeToString(), "shifted")


@pytest.fixture
def choose(marketplace, colours, base_recipe, changed):
    def run(int8, products=marketplace.products, **bounds):
        recipe = changed(base_recipe, encoder=bounds)
        labels = [*CHANNELS, "Grey"]
        return select_encoder(
            colours,
            int8,
            colours,
            {},
            marketplace.images,
            products,
            marketplace.splits,
            labels,
            recipe,
            None,
        )

    return run


def test_lossless_int8_is_selected(choose, colours):
    chosen = choose(colours)

    assert chosen.report["precision"] == "int8"
    assert chosen.report["fp32"]["accuracy"] == chosen.report["int8"]["accuracy"] == 1
    assert chosen.report["int8"]["mean_cosine"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("most", "served"), [(0.0, "fp32"), (0.5, "fp32"), (0.51, "int8")])
def test_int8_within_allowed_loss_is_selected(choose, marketplace, colours, wrong, most, served):
    products = marketplace.products.copy()
    products.loc[24:26, "category"] = "Grey"  # three validation photos of six: no encoder says so

    chosen = choose(wrong, products, max_accuracy_drop=most)

    assert chosen.report["int8"]["accuracy_drop"] == 0.5
    assert chosen.report["precision"] == served
    assert chosen.encoder == {"fp32": colours, "int8": wrong}[served].read()


@pytest.mark.parametrize(("cosine", "served"), [(1.0, "fp32"), (0.9, "fp32"), (0.0, "int8")])
def test_int8_with_near_embeddings_is_selected(choose, colours, shifted, cosine, served):
    chosen = choose(shifted, min_cosine=cosine)

    assert chosen.report["int8"]["accuracy_drop"] == 0
    assert chosen.report["precision"] == served
    assert chosen.encoder == {"fp32": colours, "int8": shifted}[served].read()


def test_requested_fp32_is_selected(choose, colours, shifted):
    chosen = choose(shifted, precision="fp32", min_cosine=0)

    assert chosen.encoder == colours.read()
    assert chosen.report["int8"]["within_bounds"]


@pytest.mark.parametrize(("cosine", "served"), [(0.0, "int8"), (0.9, "fp32")])
def test_requested_int8_is_selected_unless_it_loses_too_much(
    choose, colours, shifted, cosine, served
):
    chosen = choose(shifted, precision="int8", min_cosine=cosine)

    assert chosen.report["requested"] == "int8"
    assert chosen.encoder == {"fp32": colours, "int8": shifted}[served].read()


def test_selection_uses_validation_photos_only(marketplace, colours, wrong, base_recipe):
    others = marketplace.products.copy()
    validation = others.index.isin(range(24, 30))
    others.loc[~validation, "category"] = "Red"

    one, other = (
        select_encoder(colours, wrong, colours, {}, marketplace.images, products, *rest)
        for products in (marketplace.products, others)
        for rest in [(marketplace.splits, CHANNELS, base_recipe, None)]
    )

    assert one.report == other.report
    assert one.report["photos"] == 6


LABELS = ["Blue", "Green", "Red"]


@pytest.fixture
def block_features(marketplace, model, base_recipe, tmp_path):
    """The pooled blocks of all photos."""
    url = str(tmp_path / "blocks.lance")
    keyed_table.ensure_table(url, VISION_FEATURES)
    extracted = extract_block_features(marketplace.images, frozenset(), model, LABELS, base_recipe)
    for rows in list(extracted)[1:]:
        table_writer.insert(url, rows)
    return keyed_table.open_table(url)


def test_temperature_corrects_overconfidence(
    stored, marketplace, block_features, fitted_network, base_recipe
):
    # One validation photo of six is said to be what it is not, so that no answer is certain.
    products = marketplace.products.copy()
    products.loc[24, "category"] = "Red"
    weights = network_weights(fitted_network)
    params = {"block_features": block_features, "products": products, "splits": marketplace.splits}

    def temperature(sureness):
        surer = weights | {"head.fc.weight": weights["head.fc.weight"] * sureness}
        model = stored(save(surer))
        result = calibrate_encoder(
            **params, vision_model=model, vision_labels=LABELS, parameters=base_recipe
        )
        assert result["photos"] == 6
        return result["temperature"]

    assert temperature(1) > 0
    assert temperature(3) == pytest.approx(3 * temperature(1), rel=0.01)


def test_model_is_exported_with_its_temperature(
    stored, fitted_network, base_recipe, changed, monkeypatch
):
    exported = []
    monkeypatch.setattr(
        encoder_selection, "export_trained", lambda *result: exported.extend(result)
    )
    model = stored(save(network_weights(fitted_network)))

    recipe = changed(base_recipe, embedding={"layer": "pool"})

    export_encoder(model, LABELS, stored(b"", "head"), {"temperature": 0.25, "photos": 6}, recipe)

    network, temperature, _ = exported
    assert temperature == 0.25
    weights = fitted_network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("params", "given"), [(12, 12), (99, 24)])
def test_ranges_use_evenly_spaced_training_photos(
    marketplace, colours, base_recipe, changed, monkeypatch, params, given
):
    seen = []
    monkeypatch.setattr(
        encoder_selection, "quantize", lambda graph, images, rows: seen.extend(rows) or graph
    )

    quantize_encoder(
        colours, *marketplace, changed(base_recipe, encoder={"calibration_photos": params})
    )

    ids = marketplace.images.take(seen, ["image_id"]).column("image_id").to_pylist()
    assert len(set(ids)) == given
    assert set(ids) <= {f"{place:02}" for place in range(24)}
    assert (ids[0], ids[-1]) == ("00", "23")


def test_fp32_is_selected_without_classifier(marketplace, colours, base_recipe):
    missing = Skipped("one category")
    given = (marketplace.images, missing, marketplace.splits, missing, base_recipe, None)

    chosen = select_encoder(colours, colours, missing, {}, *given)

    assert chosen.encoder == colours.read()
    assert chosen.report["precision"] == "fp32"


@pytest.mark.parametrize(
    ("has_head", "layer", "listed"),
    [(True, "metric", True), (False, "metric", False), (True, "pool", False)],
)
def test_second_backbone_is_reported_if_it_is_served(
    marketplace, colours, base_recipe, changed, has_head, layer, listed
):
    recipe = changed(
        base_recipe, embedding={"second_backbone": "efficientnet_lite0", "layer": layer}
    )
    missing = Skipped("too few pairs")
    data = (marketplace.images, missing, marketplace.splits, missing, recipe, None)

    chosen = select_encoder(colours, missing, colours if has_head else missing, {}, *data)

    names = [entry["name"] for entry in chosen.report["weights"]]
    assert names == (["efficientnet_lite0"] if listed else [])


def test_model_without_classes_or_head_is_exported_with_pooled_features(
    stored, base_recipe, monkeypatch
):
    exported = []
    monkeypatch.setattr(
        encoder_selection, "export_trained", lambda *result: exported.extend(result)
    )
    weights = network_weights(make_network(base_recipe, 1))
    missing = Skipped("one category")

    export_encoder(stored(save(weights)), missing, missing, missing, base_recipe)

    network, temperature, layer = exported
    assert (network.head.classes, temperature, layer.head) == (1, 1.0, None)
    maps = network.maps(torch.full((2, 256, 256, 3), 99, dtype=torch.uint8))
    expected = torch.nn.functional.normalize(maps["pool"], dim=1)
    assert torch.equal(layer(maps, maps["pool"]), expected)
