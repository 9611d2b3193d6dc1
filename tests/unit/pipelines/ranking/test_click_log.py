import pandas as pd
import pytest

from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.click_log import (
    ExcludedEvents,
    count_clicks,
    evaluation_mask,
    join_clicks,
    read_feedback,
)
from fb_marketplace.schemas.retrieval import Feedback
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace_serving.feedback.events import ClickLine, RequestedFilters, SearchLine
from fb_marketplace_serving.server.feedback_writer import FeedbackWriter

TIME = "2026-03-01T12:00:00.000+00:00"
ONE, OTHER = "1" * 32, "2" * 32


def search(search_id=ONE, visible=("p", "q"), offset=0, words="oak chair", sort="relevance"):
    return SearchLine(
        search_id=search_id,
        time=TIME,
        release="v1",
        words=words,
        filters=RequestedFilters(sort=sort),
        offset=offset,
        product_ids=list(visible),
    )


def click(search_id=ONE, product_id="q"):
    return ClickLine(search_id=search_id, time=TIME, product_id=product_id)


def as_json(*lines):
    return [line.model_dump_json().encode() for line in lines]


def rows(feedback):
    return list(feedback.itertuples(index=False, name=None))


def test_server_log_is_read(tmp_path):
    log = FeedbackWriter(tmp_path, lambda _: None)
    for line in (search(), search(OTHER, ["r", "p"], offset=20, words="größe")):
        log.add("searches", line, "someone")
    log.add("clicks", click(OTHER, "p"), "someone")
    log.close()

    feedback = read_feedback(FeedbackSource(str(tmp_path)))

    assert rows(feedback) == [
        (ONE, "oak chair", "p", 1, False),
        (ONE, "oak chair", "q", 2, False),
        (OTHER, "größe", "r", 21, False),
        (OTHER, "größe", "p", 22, True),
    ]
    pd.testing.assert_frame_equal(Feedback.validate(feedback), feedback)


@pytest.mark.parametrize("sort", ["newest", "price_asc", "distance"])
def test_search_in_another_order_is_left_out(sort):
    lines = as_json(search(sort=sort), search(OTHER, sort="best"))

    feedback, excluded = join_clicks(lines, as_json(click(), click(OTHER)))

    assert set(feedback["search_id"]) == {OTHER}
    assert not any(excluded)


def test_missing_folder_gives_empty_table(tmp_path):
    feedback = read_feedback(FeedbackSource(str(tmp_path / "nowhere")))

    assert len(feedback) == 0
    Feedback.validate(feedback)


def test_repeated_click_counts_once():
    feedback, left_out = join_clicks(as_json(search()), as_json(click(), click()))

    assert feedback["clicked"].tolist() == [False, True]
    assert left_out == ExcludedEvents(0, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"7",
        b"\xff\xfe",
        as_json(search())[0][:-5],
        as_json(click())[0],
        as_json(search())[0].replace(b'"offset":0', b'"offset":-1'),
        as_json(search())[0].replace(ONE.encode(), b"one"),
        as_json(search())[0].replace(b'"q"', b'"p"'),
    ],
)
def test_malformed_lines_are_skipped_and_counted(wrong):
    feedback, left_out = join_clicks([wrong, *as_json(search(OTHER))], as_json(click(OTHER)))

    assert set(feedback["search_id"]) == {OTHER}
    assert left_out == ExcludedEvents(1, 0, 0)


def test_malformed_clicks_are_counted():
    _, left_out = join_clicks([b"{", *as_json(search())], [b"{", *as_json(search())])

    assert left_out == ExcludedEvents(3, 0, 0)


def test_clicks_without_impression_are_skipped_and_counted():
    clicks = as_json(click(OTHER), click(ONE, "elsewhere"), click())

    feedback, left_out = join_clicks(as_json(search()), clicks)

    assert feedback["clicked"].tolist() == [False, True]
    assert left_out == ExcludedEvents(0, 0, 2)


def test_first_search_of_an_id_counts():
    feedback, left_out = join_clicks(as_json(search(), search(visible=["r"])), [])

    assert feedback["product_id"].tolist() == ["p", "q"]
    assert left_out == ExcludedEvents(0, 1, 0)


def test_deep_clicks_are_left_out():
    """They would have the highest weight."""
    page = [f"p{number}" for number in range(20)]
    searches = as_json(search(ONE, page, offset=90), search(OTHER, page, offset=90_000))

    feedback, excluded = join_clicks(
        searches, as_json(click(ONE, "p9"), click(ONE, "p10"), click(OTHER, "p0"))
    )

    assert [row[2] for row in rows(feedback) if row[4]] == ["p9"]
    assert excluded == ExcludedEvents(0, 0, 0, deep=2)


def test_only_the_first_clicks_of_a_search_are_used():
    page = [f"p{number}" for number in range(50)]
    clicks = [click(ONE, product) for product in reversed(page)]

    feedback, excluded = join_clicks(as_json(search(ONE, page)), as_json(*clicks, *clicks))

    assert {row[2] for row in rows(feedback) if row[4]} == set(page[40:])
    assert excluded == ExcludedEvents(0, 0, 0, excess=40)


@pytest.mark.parametrize(("searches", "level"), [(0, 0), (4, 0), (5, 1), (9, 1), (10, 2), (20, 3)])
def test_level_of_clicks_rises_as_they_double(base_parameters, searches, level):
    parameters = RankerParameters.model_validate(base_parameters["ranker"] | {"min_clicks": 5})
    splits = pd.DataFrame({"product_id": list("abt"), "split": ["train", "validation", "test"]})
    usable = [(f"s{n}", item, item == "a") for n in range(searches) for item in "ab"]
    unusable = [
        (f"{kind}{n}", item, is_clicked)
        for n in range(20)
        for kind, shown in (
            ("no click", [("a", False), ("b", False)]),
            ("nothing else", [("a", True), ("t", False)]),
            ("clicked test listing", [("t", True), ("a", False)]),
            ("gone", [("x", True), ("b", False)]),
        )
        for item, is_clicked in shown
    ]
    feedback = pd.DataFrame(usable + unusable, columns=["search_id", "product_id", "clicked"])
    feedback["words"] = ["chair"] * len(usable) + ["lamp"] * len(unusable)

    assert count_clicks(feedback, splits, parameters) == level


def test_searches_for_evaluation_do_not_raise_the_level(base_parameters):
    parameters = RankerParameters.model_validate(base_parameters["ranker"] | {"min_clicks": 1})
    splits = pd.DataFrame({"product_id": ["a", "b"], "split": ["train", "train"]})
    columns = ["search_id", "words", "product_id", "clicked"]
    searches = [("s1", "red bike", "a", True), ("s1", "red bike", "b", False)]
    feedback = pd.DataFrame([*searches, ("s2", "chair", "a", False)], columns=columns)

    assert evaluation_mask(feedback).tolist() == [True, True, False]
    assert count_clicks(feedback, splits, parameters) == 0
