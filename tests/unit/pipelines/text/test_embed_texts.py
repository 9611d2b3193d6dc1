import numpy as np
import pandas as pd
import pytest
from support.builders import tiny_text_encoder as tiny

from fb_marketplace.pipelines.text import embed_texts as text_extraction
from fb_marketplace.pipelines.text.embed_texts import (
    embed_texts,
    plan_text_embeddings,
    report_text_embeddings,
)
from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace_serving.encoders.text import TextEncoder

TITLES = {"d": "old oak table", "b": "red lamp", "a": "blue bike", "c": "oak chair", "e": "lamp"}
COUNTS = ("texts", "encoded", "reused", "removed")


@pytest.fixture
def encoder(store_file):
    return store_file("encoder", tiny.graph()), store_file("tokenizer", tiny.tokenizer())


@pytest.fixture
def telling(sentences):
    return sentences.model_copy(update={"texts_per_shard": 2})


def listings(titles, description="old"):
    return pd.DataFrame(titles.items(), columns=["product_id", "title"]).assign(
        description=description
    )


def read(products, encoder, values, existing=frozenset()):
    keys = plan_text_embeddings(products, *encoder, existing)
    retained, *batches = embed_texts(products, *encoder, keys, values)
    assert retained.existing == existing
    by_listing = sorted(batches, key=lambda batch: batch["product_id"][0].as_py())
    return retained.keys, [batch.to_pylist() for batch in by_listing]


@pytest.fixture
def keep(encoder, telling, tmp_path):
    """Runs the stage as Kedro does, into a table; gives its report, and the embeddings by listing."""
    url = str(tmp_path / "texts.lance")

    def keep(products):
        keyed_table.ensure_table(url, TEXT_EMBEDDINGS)
        keys = plan_text_embeddings(products, *encoder, keyed_table.existing_keys(url))
        retained, *batches = embed_texts(products, *encoder, keys, telling)
        table_writer.retain(url, retained.keys)
        for batch in batches:
            table_writer.insert(url, batch)
        table = keyed_table.open_table(url)
        rows = table.read(["product_id", "embedding"]).to_pylist()
        return report_text_embeddings(keys, table), {
            row["product_id"]: row["embedding"] for row in rows
        }

    return keep


def test_embeddings_are_of_title_and_description(encoder, telling):
    keys, batches = read(listings(TITLES), encoder, telling)
    rows = [row for batch in batches for row in batch]

    assert [row["product_id"] for row in rows] == list("abcde")
    assert {row["key"] for row in rows} == keys
    served = TextEncoder.from_bytes(*(file.read() for file in encoder))
    expected = served.encode([f"{TITLES[name]}. old" for name in "abcde"]).text_embedding
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), expected)


def test_rows_are_saved_in_shards(encoder, telling):
    assert [len(batch) for batch in read(listings(TITLES), encoder, telling)[1]] == [2, 2, 1]


def test_key_depends_on_listing_text_and_encoder(encoder, store_file):
    products = listings({"a": "lamp", "b": "lamp"})
    graph, tokenizer = encoder
    keys = {}
    for name, values in {
        "as it is": (products, graph, tokenizer),
        "title": (listings({"a": "a lamp", "b": "a lamp"}), graph, tokenizer),
        "description": (listings({"a": "lamp", "b": "lamp"}, "new"), graph, tokenizer),
        "encoder": (products, store_file("other", tiny.graph(seed=1)), tokenizer),
        "tokenizer": (products, graph, store_file("padding", tiny.tokenizer(padded_to=9))),
    }.items():
        keys[name] = plan_text_embeddings(*values, frozenset()).keys

    assert len({key for required in keys.values() for key in required}) == 2 * len(keys)


def test_row_order_does_not_matter(encoder):
    products = listings(TITLES)

    assert plan_text_embeddings(products, *encoder, frozenset()) == plan_text_embeddings(
        products.iloc[::-1], *encoder, frozenset()
    )


def test_second_run_encodes_nothing(keep, monkeypatch):
    first, embeddings = keep(listings(TITLES))
    monkeypatch.setattr(text_extraction, "TextEncoder", None)

    second, same = keep(listings(TITLES))

    assert [first[name] for name in COUNTS] == [5, 5, 0, 0]
    assert [second[name] for name in COUNTS] == [5, 0, 5, 0]
    assert second["digest"] == first["digest"]
    assert same == embeddings


def test_only_changed_text_is_encoded_again(keep):
    _, before = keep(listings(TITLES))

    report, after = keep(listings(TITLES | {"c": "red chair"}))

    assert [report[name] for name in COUNTS] == [5, 1, 4, 1]
    assert {name for name in TITLES if after[name] != before[name]} == {"c"}


def test_removed_listing_is_deleted(keep):
    keep(listings(TITLES))

    report, left = keep(listings({name: TITLES[name] for name in "abd"}))

    assert [report[name] for name in COUNTS] == [3, 0, 3, 2]
    assert left.keys() == set("abd")


def test_resumed_run_encodes_the_rest(encoder, telling):
    keys, batches = read(listings(TITLES), encoder, telling)
    existing = frozenset(row["key"] for row in batches[0])

    assert read(listings(TITLES), encoder, telling, existing) == (keys, batches[1:])


def test_digest_does_not_depend_on_number_of_runs(keep, tmp_path):
    keep(listings({name: TITLES[name] for name in "ec"}))
    after, _ = keep(listings(TITLES))
    table_writer.retain(str(tmp_path / "texts.lance"), frozenset())

    at_once, _ = keep(listings(TITLES))

    assert at_once["encoded"] == 5
    assert at_once["digest"] == after["digest"]
