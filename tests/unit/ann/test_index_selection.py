import numpy as np
import pytest
from support.builders.low_rank_vectors import COUNT, drawn

from fb_marketplace.ann import index_selection
from fb_marketplace.ann.index_selection import build_selected, select_index
from fb_marketplace.ann.recall_benchmark import RecallBenchmark, evaluate_recall, kth_distances
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import KINDS, FaissIndex


@pytest.fixture(scope="module")
def parameters(base_parameters):
    return IndexParameters.model_validate(base_parameters["indexing"])


@pytest.fixture(scope="module")
def vectors():
    return FaissIndex(flat_index([drawn(0, COUNT)]))


@pytest.fixture
def with_values(parameters):
    """Parameters that try every kind, on few queries."""

    def ask(**changed):
        few = {"flat_max_vectors": 100, "queries": 200, "recall": 0.95}
        return parameters.model_copy(update=few | changed)

    return ask


@pytest.fixture
def clock(monkeypatch):
    """Makes queries of a kind take so many milliseconds."""

    def set_to(**milliseconds):
        def times_of(indexes, queries):
            return {kind: np.full(3, float(milliseconds[kind])) for kind in indexes}

        monkeypatch.setattr(index_selection, "measure_latency", times_of)

    return set_to


@pytest.mark.parametrize("quickest", ["ivf_pq", "ivf_rabitq", "ivf_sq8", "hnsw", "flat"])
def test_auto_selects_fastest_kind_with_enough_recall(vectors, with_values, clock, quickest):
    clock(**(dict.fromkeys(KINDS, 3) | {quickest: 1}))

    chosen = select_index(vectors, with_values(kind="auto"))

    assert chosen["kind"] == quickest


def test_auto_keeps_preferred_kind_if_others_are_hardly_faster(vectors, with_values, clock):
    clock(ivf_pq=1.2, ivf_rabitq=1.0, ivf_sq8=1.0, hnsw=1.1, flat=3)

    assert select_index(vectors, with_values(kind="auto"))["kind"] == "ivf_pq"


def test_auto_stays_exact_if_nothing_is_much_faster(vectors, with_values, clock):
    clock(ivf_pq=1.0, ivf_rabitq=1.0, ivf_sq8=1.05, hnsw=1.1, flat=1.2)

    assert select_index(vectors, with_values(kind="auto"))["kind"] == "flat"


def test_kind_with_low_recall_is_not_selected(vectors, with_values, clock, monkeypatch):
    clock(ivf_pq=1, ivf_rabitq=1, ivf_sq8=1, hnsw=0.1, flat=3)
    monkeypatch.setattr(index_selection, "search_settings", near_nothing)

    chosen = select_index(vectors, with_values(kind="auto"))

    assert chosen["kind"] == "flat"
    tried = {row["kind"]: row for row in chosen["tried"]}
    assert tried["hnsw"]["recall_at_10"] < 0.95
    assert tried["hnsw"]["p50_ms"] is None


def near_nothing(vectors):
    yield {"efSearch": 1} if vectors.kind == "hnsw" else {"nprobe": 1}


def test_few_vectors_use_flat(vectors, with_values):
    chosen = select_index(vectors, with_values(kind="auto", flat_max_vectors=COUNT))

    assert chosen["kind"] == "flat"
    assert [row["kind"] for row in chosen["tried"]] == ["flat"]


def test_flat_alone_holds_out_no_queries(vectors, with_values, monkeypatch):
    monkeypatch.setattr(index_selection, "hold_out_queries", None)
    parameters = with_values(kind="auto", flat_max_vectors=COUNT)

    selection = select_index(vectors, parameters)
    card = build_selected(vectors, selection, parameters).card

    for row in (selection, card):
        assert (row["kind"], row["recall_at_10"]) == ("flat", 1)
        assert row["p99_ms"] > 0


def test_many_vectors_skip_hnsw(vectors, with_values):
    chosen = select_index(vectors, with_values(kind="auto", hnsw_max_vectors=COUNT - 1))

    assert {row["kind"] for row in chosen["tried"]} == set(KINDS) - {"hnsw"}


@pytest.mark.parametrize("kind", KINDS)
def test_named_kind_uses_lowest_sufficient_effort(vectors, with_values, kind):
    chosen = select_index(vectors, with_values(kind=kind))

    assert chosen["kind"] == kind
    (tried,) = chosen["tried"]
    *before, last = [step["lower_bound"] for step in tried["steps"]] or [1.0]
    assert all(item < 0.95 for item in before)
    assert last >= 0.95


def test_more_recall_needs_more_effort(vectors, with_values):
    little, much = (
        select_index(vectors, with_values(kind="ivf_sq8", queries=2000, recall=recall))
        for recall in (0.7, 0.999)
    )

    assert little["settings"]["nprobe"] < much["settings"]["nprobe"]
    assert little["recall_at_10"] < much["recall_at_10"]


def test_named_kind_with_low_recall_names_its_recall(vectors, with_values, monkeypatch):
    monkeypatch.setattr(index_selection, "search_settings", near_nothing)

    with pytest.raises(UserError, match=r"hnsw.*0\.\d+.*0\.95"):
        select_index(vectors, with_values(kind="hnsw"))


@pytest.mark.parametrize(
    ("recall", "message"),
    [(1, r"\b1\b.*flat"), (0.999, r"\b200\b")],
)
def test_recall_that_queries_cannot_show_is_rejected(vectors, with_values, recall, message):
    with pytest.raises(UserError, match=message):
        select_index(vectors, with_values(kind="ivf_sq8", recall=recall))


def test_only_flat_reaches_full_recall(vectors, with_values):
    chosen = select_index(vectors, with_values(kind="auto", recall=1))

    assert chosen["kind"] == "flat"
    assert {row["kind"] for row in chosen["tried"] if row["p50_ms"]} == {"flat"}


def test_recall_generalizes_to_other_queries(vectors, with_values):
    parameters = with_values(kind="ivf_rabitq", queries=1000, recall=0.98)
    chosen = build_selected(vectors, select_index(vectors, parameters), parameters).vectors
    left_out = drawn(1, 1000)

    recall = evaluate_recall(chosen, RecallBenchmark(left_out, kth_distances(chosen, left_out)))

    assert recall.mean >= 0.98


def test_built_index_has_selected_settings(vectors, with_values):
    parameters = with_values(kind="ivf_rabitq")
    selection = select_index(vectors, parameters)

    built = build_selected(vectors, selection, parameters)

    assert len(built.vectors) == COUNT
    assert built.vectors.kind == "ivf_rabitq"
    assert built.vectors.settings["nprobe"] == selection["settings"]["nprobe"]
    assert built.card["recall_at_10"] == selection["recall_at_10"]
    assert built.card["vectors_at_selection"] == COUNT


@pytest.mark.parametrize("kind", ["ivf_sq8", "hnsw"])
def test_search_is_widened_if_recall_fell(vectors, with_values, kind):
    parameters = with_values(kind=kind, recall=0.99, queries=1000)
    selection = select_index(vectors, parameters)
    narrow = {"settings": {"nprobe": 1, "k_factor": 2, "efSearch": 1}}

    built = build_selected(vectors, selection | narrow, parameters)

    assert built.vectors.settings == selection["settings"]


def test_fewer_clusters_than_nprobe_are_all_searched(vectors, with_values):
    parameters = with_values(kind="ivf_sq8")
    settings = {"settings": {"nprobe": 4096, "k_factor": 2}}

    built = build_selected(
        vectors, select_index(vectors, parameters) | settings, parameters
    ).vectors

    assert built.settings["nprobe"] == built.settings["nlist"]


def test_auto_is_flat_if_selected_kind_lost_its_recall(vectors, with_values, monkeypatch):
    selection = select_index(vectors, with_values(kind="hnsw"))
    monkeypatch.setattr(index_selection, "search_settings", near_nothing)

    assert build_selected(vectors, selection, with_values(kind="auto")).vectors.kind == "flat"
    with pytest.raises(UserError, match="hnsw"):
        build_selected(vectors, selection, with_values(kind="hnsw"))
