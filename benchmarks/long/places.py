"""Count the listings located by the gazetteer's rule and by a town's name alone.

    FB_LAKE=<lake> python benchmarks/long/places.py

Reads the outputs of `kedro run --pipeline=cleaning` in the lake of FB_LAKE, and changes nothing. By name
alone, the most populous town of a name is taken, whatever the county. Places within the reach of a city of
each other count as the same.
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
from fb_marketplace_serving.search.listings.gazetteer import REACH_KM, Gazetteer
from fb_marketplace_serving.search.listings.geo import distance_km

PROJECT = Path(__file__).parents[2]
INPUTS = ("products", "images", "duplicate_groups")
REPEATS = 20

Result = TypeVar("Result")


def main() -> None:
    """Build the gazetteer and the listing features; print the report and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--country", default="GB")
    parser.add_argument("--min-population", type=int, default=500)
    args = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error("Set FB_LAKE to a lake in which `kedro run --pipeline=cleaning` has run.")
    inputs = load_inputs()
    parameters = GazetteerParameters(country=args.country, min_population=args.min_population)
    seconds, data = timed(lambda: build_gazetteer(inputs["products"], parameters))
    print(f"gazetteer built in {seconds:.1f} s, {len(data):,} bytes")
    opening = sorted(timed(lambda: Gazetteer.from_bytes(data))[0] for _ in range(REPEATS))
    print(
        f"opened in {1000 * opening[0]:.0f} ms at best, {1000 * opening[REPEATS // 2]:.0f} median"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gazetteer.parquet"
        file.write_bytes(data)
        stored = FileRef(str(file))
        seconds, result = timed(
            lambda: build_listing_features(
                inputs["products"], inputs["images"], inputs["duplicate_groups"], stored
            )
        )
    print(f"features built in {seconds:.1f} s, {len(result.features):,} bytes")
    print(json.dumps(result.report, indent=1, ensure_ascii=False))
    compare(inputs["products"], Gazetteer.from_bytes(data))


def load_inputs() -> dict[str, Any]:
    """Load the outputs of the last run of `cleaning`."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in INPUTS}


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds that work takes, and its result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def compare(products: pd.DataFrame, places: Gazetteer) -> None:
    """Print how the rule and the name alone differ, on listings that name a county."""
    listed = products[products["county"].notna()].groupby(["town", "county"]).size()
    same = other = elsewhere = only = neither = 0
    for (town, county), count in listed.items():
        by_rule, by_name = places.resolve(town, county), places.resolve(town)
        if by_name is None:
            only += count * (by_rule is not None)
            neither += count * (by_rule is None)
            continue
        if by_rule is None:
            elsewhere += count
            continue
        km = distance_km(*by_rule.place[1:], *by_name.place[1:])
        same, other = same + count * bool(km <= REACH_KM), other + count * bool(km > REACH_KM)
    print(f"\n{int(np.sum(listed)):,} listings name a town and a county")
    print(f"{same:,}: both resolve to the same place")
    print(f"{other:,}: the name alone resolves to a town over {REACH_KM:.0f} km away")
    print(f"{elsewhere:,}: the name alone resolves outside the county; the rule knows no place")
    print(f"{only:,}: only the rule knows a place")
    print(f"{neither:,}: neither knows a place")


if __name__ == "__main__":
    main()
