"""Clicks in a market of equal listings with long or short descriptions."""

import uuid
from itertools import cycle

import numpy as np
import pandas as pd
import pytest
from support.builders import tiny_text_encoder as tiny
from support.builders.small_market import facts, listing

from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking import lambdamart
from fb_marketplace.pipelines.ranking.click_log import evaluation_mask, read_feedback
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.train_ranker import train_ranker
from fb_marketplace.pipelines.ranking.training_data import click_dataset, propensity_weight
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.vectors import VectorTable
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.feedback.events import (
    ClickLine,
    RequestedFilters,
    SearchLine,
    utc_now,
)
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES
from fb_marketplace_serving.server.feedback_writer import FeedbackWriter

COUNT, SIZE = 60, 4
LENGTH = FEATURES.index("description_words")
LONG, SHORT = 200, 10
WORDS = "red chair"
SPLITS = ("train", "train", "train", "validation", "validation", "test")


def name(number):
    return f"p{number:02}"


def is_long(product_id):
    return int(product_id[1:]) // len(SPLITS) % 2 == 0


def split_of(product_id):
    return SPLITS[int(product_id[1:]) % len(SPLITS)]


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    monkeypatch.setattr(lambdamart, "openmp_threads", lambda: 1)


@pytest.fixture(scope="module")
def training(base_parameters):
    few = {
        "num_boost_round": 20,
        "early_stopping_rounds": 5,
        "min_data_in_leaf": 5,
        "learning_rate": 0.2,
        "min_clicks": 50,
    }
    return RankerParameters.model_validate(base_parameters["ranker"] | few)


@pytest.fixture(scope="module")
def market():
    names = [name(number) for number in range(COUNT)]
    encoder = TextEncoder.from_bytes(tiny.graph(text_to_image_size=SIZE), tiny.tokenizer())
    drawn = np.random.default_rng(0).normal(size=(COUNT, SIZE))
    photos = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    owner = {f"i-{item}": item for item in names}
    splits = [(image, item, item, split_of(item)) for image, item in owner.items()]
    return SearchEvaluationData(
        products=pd.DataFrame(
            {
                "product_id": names,
                "title": WORDS,
                "description": "",
                "category_path": "Home",
            }
        ),
        splits=pd.DataFrame(splits, columns=["image_id", "product_id", "group", "split"]),
        duplicate_groups=pd.DataFrame({"image_id": [], "group": []}, dtype="object"),
        photos=VectorTable(tuple(owner), photos),
        projected_photos=VectorTable(tuple(owner), photos),
        probabilities=VectorTable(tuple(owner), np.ones((COUNT, 1), np.float32)),
        photo_products=owner,
        texts=VectorTable(tuple(names), encoder.encode([WORDS] * COUNT).text_embedding),
        encoder=encoder,
        listings={item: listing(item, 5.0, title=WORDS) for item in names},
        features=facts(
            names, description_words=[LONG if is_long(item) else SHORT for item in names]
        ),
        labels=("Home",),
        word_index=FileRef("unused"),
        gazetteer=FileRef("unused"),
    )


def shown_and_clicked(pages, words=WORDS, offset=0):
    """A feedback table of pages, their listings and clicks."""
    return pd.DataFrame(
        [
            (f"{number:032x}", words, product, offset + place, product in clicked)
            for number, (visible, clicked) in enumerate(pages)
            for place, product in enumerate(visible, start=1)
        ],
        columns=["search_id", "words", "product_id", "position", "clicked"],
    )


def learned_listings():
    names = [name(number) for number in range(COUNT) if split_of(name(number)) != "test"]
    return (
        [item for item in names if is_long(item)],
        [item for item in names if not is_long(item)],
    )


def draw_biased(pages, seed=2):
    """Pages that mostly show the short above the long, to people who like the long twice as much, and
    look at what stands at place p once in p times."""
    random = np.random.default_rng(seed)
    long, short = learned_listings()
    drawn = []
    for _ in range(pages):
        first, second = (short, long) if random.random() < 0.98 else (long, short)
        visible = [
            *random.choice(first, 3, replace=False).tolist(),
            *random.choice(second, 3, replace=False).tolist(),
        ]
        clicked = {
            product
            for place, product in enumerate(visible, start=1)
            if random.random() < 1 / place and random.random() < (0.8 if is_long(product) else 0.4)
        }
        drawn.append((visible, clicked))
    return drawn


@pytest.fixture(scope="module")
def teach(market, weighing):
    """Make lessons of feedback."""
    gallery = market.corpus_without("test", weighing)

    def teach(feedback, parameters):
        return click_dataset(feedback, gallery, market.query_encoder(), market.labels, parameters)

    return teach


@pytest.fixture(scope="module")
def gain_of_length(market, weighing):
    """Return the mean score gain of long descriptions."""
    (result, *_) = market.judge_queries("test", weighing, 1000, 0).all

    def gain(model):
        scores = Ranker.from_bytes(model).scores(result.features)
        lengths = result.features[:, LENGTH]
        return scores[lengths == LONG].mean() - scores[lengths == SHORT].mean()

    return gain


def test_position_weights_remove_presentation_bias(market, weighing, training, gain_of_length):
    feedback = shown_and_clicked(draw_biased(600))
    clicked = feedback[feedback["clicked"]]
    assert (clicked["product_id"].map(is_long)).mean() < 0.5, "the plain count misleads"
    plain = training.model_copy(update={"position_bias_exponent": 0.0})

    fair = train_ranker(market, weighing, feedback, training)
    misled = train_ranker(market, weighing, feedback, plain)

    assert gain_of_length(fair.ranker) > 0.05
    assert gain_of_length(misled.ranker) < -0.05


def test_server_log_trains_a_ranker(market, weighing, training, gain_of_length, tmp_path):
    log = FeedbackWriter(tmp_path, lambda _: None)
    queries = cycle([WORDS, "red", "chair", "old chair", "red bike", "blue"])
    for (visible, _), words in zip(draw_biased(200), queries, strict=False):
        clicked = {product for product in visible if is_long(product)}
        search_id = uuid.uuid4().hex
        line = SearchLine(
            search_id=search_id,
            time=utc_now(),
            release="v1",
            words=words,
            filters=RequestedFilters(),
            offset=0,
            product_ids=visible,
        )
        log.add("searches", line, "someone")
        for product in sorted(clicked):
            line = ClickLine(search_id=search_id, time=utc_now(), product_id=product)
            log.add("clicks", line, "someone")
    log.close()
    feedback = read_feedback(FeedbackSource(str(tmp_path)))

    trained = train_ranker(market, weighing, feedback, training)

    assert trained.card["learned_from"] == "feedback"
    used = feedback[~evaluation_mask(feedback)]
    clicked = used.loc[used["clicked"], "search_id"].nunique()
    assert trained.card["clicked"] == trained.card["clicked_and_known"] == clicked
    assert trained.card["searches"] == used["clicked"].sum() < feedback["clicked"].sum()
    assert gain_of_length(trained.ranker) > 0


def test_too_few_clicks_use_synthetic_queries(market, weighing, training):
    nothing = shown_and_clicked([])
    few = shown_and_clicked(draw_biased(20))
    without_clicks = shown_and_clicked([(visible, []) for visible, _ in draw_biased(100)])

    by_rules = train_ranker(market, weighing, nothing, training)

    assert by_rules.card["learned_from"] == "rules"
    assert by_rules.card["clicked"] == 0
    for feedback in (few, without_clicks):
        trained = train_ranker(market, weighing, feedback, training)
        assert trained.card["learned_from"] == "rules"
        assert trained.ranker == by_rules.ranker


def test_unusable_clicks_do_not_count_as_enough(market, weighing, training):
    gone = shown_and_clicked([(["gone", "lost"], ["gone"])] * 100)

    trained = train_ranker(market, weighing, gone, training)

    searches = int((~evaluation_mask(gone)).sum()) // 2
    assert trained.card["learned_from"] == "rules"
    assert (trained.card["clicked"], trained.card["clicked_and_known"]) == (searches, 0)
    assert trained.card["left_out"] == 2 * searches


def test_test_split_listings_are_excluded(teach, training):
    tested = [name(number) for number in range(COUNT) if split_of(name(number)) == "test"]
    remaining = [name(0), name(3)]
    feedback = shown_and_clicked([([tested[0], *remaining, tested[1]], [tested[0], remaining[1]])])

    result = teach(feedback, training)

    assert result.dataset.sizes.tolist() == [2]
    assert result.left_out == 2
    assert result.searches == 1


def test_click_is_preferred_over_unclicked_hits(teach, training):
    long, short = name(0), name(6)
    assert (is_long(long), is_long(short)) == (True, False)
    feedback = shown_and_clicked([([short, name(7), long], [short, long])], offset=4)

    lessons = teach(feedback, training).dataset

    assert lessons.sizes.tolist() == [2, 2]
    assert sorted(lessons.grades[:2]) == sorted(lessons.grades[2:]) == [0, 2]
    lengths = {
        float(weight): float(length)
        for weight, length, grade in zip(
            lessons.weights, lessons.features[:, LENGTH], lessons.grades, strict=True
        )
        if grade
    }
    assert lengths == {5.0: SHORT, 7.0: LONG}
    assert lessons.weights.tolist() in ([5.0, 5.0, 7.0, 7.0], [7.0, 7.0, 5.0, 5.0])


def test_equal_queries_are_one_fold_group(teach, training):
    one = shown_and_clicked([([name(0), name(1)], [name(0)])] * 2)
    other = shown_and_clicked([([name(0), name(1)], [name(1)])], words="chair")
    other["search_id"] = "f" * 32

    groups = teach(pd.concat([one, other]), training).dataset.groups

    assert sorted(groups) == ["chair", WORDS, WORDS]


def test_single_query_gives_one_group_per_search(teach, training):
    visible = [name(0), name(1), name(2)]
    feedback = shown_and_clicked([(visible, visible[:2]), (visible, visible[:1])])

    groups = teach(feedback, training).dataset.groups

    assert groups[0] == groups[1] != groups[2]


def test_pages_without_contrast_are_skipped(teach, training):
    feedback = shown_and_clicked(
        [([name(0), name(1)], []), ([name(0), name(1)], [name(0), name(1)]), ([name(0)], [name(0)])]
    )

    result = teach(feedback, training)

    assert (result.searches, len(result.dataset.sizes), len(result.dataset.features)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("position", "bias", "weight"),
    [(1, 1.0, 1), (4, 1.0, 4), (4, 0.5, 2), (4, 0.0, 1), (10, 1.0, 10), (5000, 1.0, 10)],
)
def test_click_has_inverse_propensity_weight(training, position, bias, weight):
    values = training.model_copy(update={"position_bias_exponent": bias})

    assert propensity_weight(position, values) == weight
