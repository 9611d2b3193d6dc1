"""Checks that every order, page and threshold of a search agree."""

from itertools import pairwise

from support.search_client import ask

from fb_marketplace_serving.search.listings.listing import IMPLAUSIBLE

SORTS = ("relevance", "newest", "price_asc", "price_desc", "distance")
PAGE = 100
THRESHOLDS = (0.0, 0.2, 0.5, 0.8, 1.0)


def all_hits(client, max_pages=50, **query):
    """Return the first page's body, and the hits of all pages."""
    first = ask(client, limit=PAGE, **query)
    hits = first["hits"]
    while len(hits) < min(first["total"], max_pages * PAGE):
        page = ask(client, limit=PAGE, offset=len(hits), **query)
        assert page["total"] == first["total"]
        assert page["hits"], (query, len(hits))
        hits = hits + page["hits"]
    return first, hits


def listings_of(hits):
    """Return the ids of hits and of their duplicates."""
    return sorted(name for hit in hits for name in (hit["product_id"], *hit["duplicates"]))


def check_consistency(client, near, **query):
    """Search in every order, and with every threshold; return the total.

    Args:
        client: client of a server.
        near: a town, from which distances are measured.
        query: parameters of the search, without a sort or threshold.
    """
    best, hits = all_hits(client, near=near, **query)
    found = listings_of(hits)
    assert len(hits) == best["total"], query
    assert len(found) == len(set(found)) == best["total_listings"], query
    if "category" not in query:
        roots = [facet["count"] for facet in best["categories"] if " / " not in facet["path"]]
        assert sum(roots) == best["total_listings"], query
    assert sum(facet["count"] for facet in best["prices"]) <= best["total_listings"]
    assert all((hit["relevance"] or 0) >= best["min_relevance"] for hit in hits), query
    for sort in SORTS:
        body, others = all_hits(client, near=near, sort=sort, **query)
        assert listings_of(others) == found, (sort, query)
        for name in ("total", "total_listings", "categories", "prices", "min_relevance"):
            assert body[name] == best[name], (sort, name, query)
        check_order(sort, others)
    if query.get("q", "").strip():
        check_thresholds(client, best, found, near=near, **query)
    return best["total"]


def check_thresholds(client, best, found, **query):
    """Check that a higher threshold gives a part of the results, and the default those it names."""
    named = all_hits(client, min_relevance=best["min_relevance"], **query)
    if best["min_relevance"]:
        assert listings_of(named[1]) == found, query
    # Without a threshold, the results are the candidates: they may be fewer.
    results = [set(listings_of(all_hits(client, min_relevance=t, **query)[1])) for t in THRESHOLDS]
    for lower, higher in pairwise(results[1:]):
        assert higher <= lower, query


def check_order(sort, hits):
    """Check that the values by which hits are sorted are in order, unknown ones last."""
    if sort in ("price_asc", "price_desc"):
        values = [None if hit["price_flag"] in IMPLAUSIBLE else hit["price"] for hit in hits]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=sort == "price_desc")
        assert values == known + [None] * (len(values) - len(known))
    elif sort == "distance":
        distances = [hit["distance_km"] for hit in hits]
        known = [value for value in distances if value is not None]
        assert distances == sorted(known) + [None] * (len(distances) - len(known))
    elif sort == "newest":
        dates = [hit["created_at"] or "" for hit in hits]
        assert dates == sorted(dates, reverse=True)
