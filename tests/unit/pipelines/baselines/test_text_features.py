import numpy as np
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.text_features import (
    fit_text,
    pack_text,
    plain_words,
    text_features,
    text_table,
    unpack_text,
)


@pytest.fixture
def table(draw_listings):
    return text_table(draw_listings(30)[0])


def test_each_text_block_has_unit_norm(table, parameters):
    features = text_features(parameters.text, len(table))

    result = fit_text(features, table)

    for name, place in features.output_indices_.items():
        if name != "remainder":
            lengths = np.sqrt(result[:, place].multiply(result[:, place]).sum(axis=1))
            assert lengths == pytest.approx(1, abs=1e-5), name


def test_place_feature_requires_a_weight(table, parameters):
    without, beside = (text_features(parameters.text, len(table), weight) for weight in (0, 0.5))

    extra = fit_text(beside, table)[:, fit_text(without, table).shape[1] :]

    assert set(extra.data) == {np.float32(0.5)}
    assert extra.sum(axis=1).max() == 1  # town and county


def test_title_words_weigh_more_than_description(table, parameters):
    features = text_features(parameters.text, len(table)).fit(table)
    titled, described = table.head(1), table.head(1)
    titled = titled.assign(title="guitar", description="x", both="guitar x")
    described = described.assign(title="x", description="guitar and much else", both="x guitar")

    near, far = (features.transform(item) for item in (titled, described))
    params = features.transform(titled.assign(description="y", both="guitar y"))

    assert (params @ near.T).sum() > (params @ far.T).sum()


def test_rare_words_count_only_in_small_data(parameters):
    few, many = plain_words(parameters.text, 50), plain_words(parameters.text, 5000)

    assert few.transformers[0][1].min_df == 1
    assert many.transformers[0][1].min_df == parameters.text.min_listings_word


def test_listings_without_words_are_rejected(table, parameters):
    silent = table.assign(title="!", description="…", both="! …")

    with pytest.raises(UserError, match="parameters_cleaning"):
        fit_text(text_features(parameters.text, len(table)), silent)


def test_column_without_words_has_no_features(table, parameters):
    silent = table.assign(description="…")
    features = text_features(parameters.text, len(table))

    fit_text(features, silent)

    assert {column for _, _, column in features.transformers} == {"both", "title"}


def test_vectorizer_round_trips_without_side_effects(table, parameters):
    features = text_features(parameters.text, len(table), 0.5)
    before = fit_text(features, table)
    packed = pack_text(features)

    after = unpack_text(packed).transform(table)

    assert (before != after).nnz == 0
    assert (features.transform(table) != before).nnz == 0
