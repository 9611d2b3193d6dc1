import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.train_price import (
    predict_prices,
    train_price_models,
)
from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS, VISION_FEATURES
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef


@pytest.fixture(scope="module")
def tables(draw_listings):
    products, splits = draw_listings()
    products.loc[[6, 8], ["price", "price_flag"]] = [123456.0, "joke"]
    return products, splits


@pytest.fixture(scope="module")
def vector_tables(tables, listing_vectors, tmp_path_factory):
    """The stored embeddings of texts, and features of photos."""
    texts, photos = listing_vectors(tables[0])
    folder = tmp_path_factory.mktemp("vectors")

    def store(schema, ids, column, suffix=""):
        url = str(folder / f"{column}.lance")
        rows = [
            {"key": name, ids: f"{name}{suffix}", column: vector}
            for name, vector in zip(
                texts.ids, photos.matrix if suffix else texts.matrix, strict=True
            )
        ]
        keyed_table.ensure_table(url, schema)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=schema))
        return keyed_table.open_table(url)

    return (
        store(TEXT_EMBEDDINGS, "product_id", "embedding"),
        store(VISION_FEATURES, "image_id", "features", "-1"),
    )


@pytest.fixture(scope="module")
def learned(tables, vector_tables, parameters):
    return train_price_models(*tables, *vector_tables, parameters)


@pytest.fixture(scope="module")
def predictions(tables, vector_tables, learned, tmp_path_factory):
    path = tmp_path_factory.mktemp("price") / "model.skops"
    path.write_bytes(learned.model)
    return predict_prices(FileRef(str(path)), *tables, *vector_tables)


def test_training_does_not_depend_on_row_order(tables, vector_tables, learned, parameters):
    products, splits = tables

    again = train_price_models(
        products.sample(frac=1, random_state=1), splits.iloc[::-1], *vector_tables, parameters
    )

    assert again.model == learned.model
    assert again.choices == learned.choices


def test_each_model_predicts_every_unflagged_price(tables, predictions):
    _, splits = tables
    measured = set(splits.loc[splits["split"] != "train", "product_id"]) - {"p006", "p008"}

    for _, answers in predictions.groupby("model"):
        assert set(answers["product_id"]) == measured


def test_chosen_model_is_best_and_has_interval(learned, predictions):
    existing = predictions[predictions["split"] == "validation"]
    errors = (
        (np.log(existing["predicted"] / existing["price"]) ** 2).groupby(existing["model"]).mean()
    )
    with_interval = predictions.loc[predictions["low"].notna(), "model"]

    assert learned.choices["model"] == errors.idxmin()
    assert set(with_interval) == {errors.idxmin()}


def test_flagged_prices_do_not_affect_trimmed_rmse(learned):
    assert learned.choices["trimmed"][1] < 200


def test_missing_test_split_is_rejected(tables, vector_tables, parameters):
    products, splits = tables

    with pytest.raises(UserError, match="'test': 0"):
        train_price_models(products, splits[splits["split"] != "test"], *vector_tables, parameters)


def test_market_without_photos_has_price_models(tables, vector_tables, parameters, tmp_path):
    inputs = (*tables, vector_tables[0], Skipped("no photos"))
    path = tmp_path / "model.skops"

    path.write_bytes(train_price_models(*inputs, parameters).model)

    assert np.isfinite(predict_prices(FileRef(str(path)), *inputs)["predicted"]).all()


def test_equal_training_prices_give_finite_interval(tables, vector_tables, parameters, tmp_path):
    products, splits = tables
    train = products["product_id"].isin(splits.loc[splits["split"] == "train", "product_id"])
    inputs = products.assign(price=products["price"].mask(train, 1.0)), splits, *vector_tables
    path = tmp_path / "model.skops"

    path.write_bytes(train_price_models(*inputs, parameters).model)

    predicted = predict_prices(FileRef(str(path)), *inputs)
    assert np.isfinite(predicted.loc[predicted["low"].notna(), ["low", "high"]]).all(axis=None)
    assert predicted["low"].notna().any()


def test_interval_covers_nominal_share_of_validation(predictions, parameters):
    chosen = predictions[predictions["low"].notna() & (predictions["split"] == "validation")]

    covered = chosen["price"].between(chosen["low"], chosen["high"])

    assert covered.mean() == pytest.approx(parameters.price.coverage, abs=1.5 / len(chosen))
