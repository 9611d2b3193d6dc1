import pytest

from fb_marketplace.pipelines.vision.export import backbone_features
from fb_marketplace.pipelines.vision.export.backbone_features import extract_backbone_features


@pytest.fixture
def exports(monkeypatch, colour_encoder):
    """Replace the backbone by mean colors and return the list of exports."""
    created = []

    def export(parameters):
        created.append(parameters)
        return colour_encoder

    monkeypatch.setattr(backbone_features, "export_trunk", export)
    return created


def read(images, base_recipe, existing=frozenset()):
    retained, *batches = extract_backbone_features(images, existing, base_recipe)
    return retained.keys, [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture
def images(store_photos, draw_photo):
    return store_photos({name: draw_photo(seed) for seed, name in enumerate("cab")})


def test_each_photo_has_its_features(exports, images, base_recipe):
    keys, rows = read(images, base_recipe)

    assert [row["image_id"] for row in rows] == ["a", "b", "c"]
    assert {row["key"] for row in rows} == keys
    assert len({tuple(row["features"]) for row in rows}) == 3


def test_existing_features_are_reused(exports, images, base_recipe):
    keys, rows = read(images, base_recipe)
    existing = frozenset(row["key"] for row in rows if row["image_id"] != "b")

    assert read(images, base_recipe, existing) == (keys, [rows[1]])


def test_nothing_is_exported_without_new_photos(exports, images, base_recipe):
    keys, _ = read(images, base_recipe)
    exports.clear()

    assert read(images, base_recipe, keys) == (keys, [])
    assert exports == []


@pytest.mark.parametrize(
    ("values", "anew"),
    [
        ({"input_side": 96}, True),
        ({"backbone": "efficientnet_lite0"}, True),
        ({"weights": "some/file.pth", "weights_sha256": "0" * 64}, True),
        ({"seed": 5}, True),
        ({"head": {"epochs": 2}}, False),
        ({"fine_tuning": {"epochs": 5}}, False),
        ({"encoder": {"precision": "fp32"}}, False),
    ],
)
def test_features_depend_on_their_inputs_only(exports, images, base_recipe, changed, values, anew):
    before, _ = read(images, base_recipe)
    after, _ = read(images, changed(base_recipe, **values))

    assert (after != before) is anew


@pytest.mark.parametrize("library", ["timm", "torch", "onnxruntime", "pillow"])
def test_features_depend_on_libraries(exports, images, base_recipe, update_library, library):
    before, _ = read(images, base_recipe)
    update_library(library)

    assert read(images, base_recipe)[0] != before


def test_photo_with_changed_pixels_is_recomputed(exports, store_photos, draw_photo, base_recipe):
    before, _ = read(store_photos({"a": draw_photo(1)}), base_recipe)
    after, _ = read(store_photos({"a": draw_photo(2)}, "other.lance"), base_recipe)

    assert before != after


def test_seed_does_not_affect_pretrained_features(exports, images, base_recipe, changed):
    package = changed(base_recipe, backbone="efficientnet_lite0", weights="package")
    before, _ = read(images, package)
    after, _ = read(images, changed(package, seed=5))

    assert before == after


def test_weights_file_is_identified_by_content(exports, images, base_recipe, changed):
    one, other = (
        changed(base_recipe, weights=place, weights_sha256="ab" * 32)
        for place in ("/here/weights.pth", "s3://there/weights.pth")
    )

    assert read(images, one)[0] == read(images, other)[0]
