"""How many listings are known where, by the rule and by a town's name alone.

    FB_LAKE=<lake> python benchmarks/long/places.py

Reads what `kedro run --pipeline=cleaning` left in the lake of FB_LAKE, and changes nothing. By name alone,
the most populous town of a name is taken, whatever the county. Answers that are no further apart than the
reach of a city count as the same.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from fb_marketplace.parameters.listings import GazetteerParameters
from fb_marketplace.pipelines.listings.gazetteer import build_gazetteer
from fb_marketplace.pipelines.listings.listing_features import build_listing_features
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.gazetteer import REACH_KM, Gazetteer
from fb_marketplace_serving.search.geo import distance_km

PROJECT = Path(__file__).parents[2]
INPUTS = ("products", "images", "duplicate_groups")
REPEATS = 20

Made = TypeVar("Made")


def main() -> None:
    """Make the places and the facts, and print the report beside the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--country", default="GB")
    parser.add_argument("--min-population", type=int, default=500)
    told = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error(
            "FB_LAKE does not say which lake; `kedro run --pipeline=cleaning` must have run there"
        )
    run = loaded()
    parameters = GazetteerParameters(country=told.country, min_population=told.min_population)
    seconds, made = timed(lambda: build_gazetteer(run["products"], parameters))
    print(f"places made in {seconds:.1f} s, {len(made):,} bytes")
    opening = sorted(timed(lambda: Gazetteer.from_bytes(made))[0] for _ in range(REPEATS))
    print(
        f"opened in {1000 * opening[0]:.0f} ms at best, {1000 * opening[REPEATS // 2]:.0f} usually"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "places.parquet"
        file.write_bytes(made)
        stored = FileRef(str(file))
        seconds, found = timed(
            lambda: build_listing_features(
                run["products"], run["images"], run["duplicate_groups"], stored
            )
        )
    print(f"facts made in {seconds:.1f} s, {len(found.facts):,} bytes")
    print(json.dumps(found.report, indent=1, ensure_ascii=False))
    compare(run["products"], Gazetteer.from_bytes(made))


def loaded() -> dict[str, Any]:
    """Load what the last run of `cleaning` made."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in INPUTS}


def timed(work: Callable[[], Made]) -> tuple[float, Made]:
    """Give the seconds that work takes, and what it makes."""
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made


def compare(products: pd.DataFrame, places: Gazetteer) -> None:
    """Print how the rule and the name alone differ, in listings that name a county."""
    listed = products[products["county"].notna()].groupby(["town", "county"]).size()
    same = other = elsewhere = only = neither = 0
    for (town, county), count in listed.items():
        ruled, named = places.resolve(town, county), places.resolve(town)
        if named is None:
            only, neither = only + count * (ruled is not None), neither + count * (ruled is None)
            continue
        if ruled is None:
            elsewhere += count
            continue
        apart = distance_km(*ruled.place[1:], *named.place[1:])
        same, other = same + count * bool(apart <= REACH_KM), other + count * bool(apart > REACH_KM)
    print(f"\n{int(np.sum(listed)):,} listings name a town and a county")
    print(f"{same:,}: the name alone leads where the rule does")
    print(f"{other:,}: it leads to another town, further than {REACH_KM:.0f} km away")
    print(f"{elsewhere:,}: it leads outside the county, where the rule knows no place")
    print(f"{only:,}: only the rule knows a place")
    print(f"{neither:,}: neither does")


if __name__ == "__main__":
    main()
