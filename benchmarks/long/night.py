"""Time a nightly run: listings are added, changed and removed; the run is killed and resumed.

    python benchmarks/long/night.py RAW LAKE                   # changes RAW
    python benchmarks/long/night.py RAW LAKE --copy FOLDER     # changes a copy, with links to the photos

RAW is a bucket of `kedro run --pipeline=sample`, and LAKE the lake of a complete run on it. The new
listings are the generator's next ones. The killed run gets SIGKILL, with all its processes, some seconds
after it has completed the node of `--kill-after`. The first run's time is the sum of the longest time of
each node in the lake's records; `--first-run` sets it.
"""

import argparse
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import lance

from fb_marketplace.sample.csv_tables import image_row, product_row
from fb_marketplace.sample.photo_files import render_photo_files
from fb_marketplace.sample.records import Photo, generate_listing, generate_photo
from fb_marketplace.storage.keyed_table import KEY
from fb_marketplace.storage.lake_layout import list_files
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace_serving.storage.lake import Lake

PROJECT: Final = Path(__file__).parents[2]
KEDRO: Final = Path(sys.executable).with_name("kedro")

TABLES: Final = {
    "photos": "03_primary/images.lance",
    "display photos": "03_primary/display_photos.lance",
    "frozen features": "04_feature/vision_features.lance",
    "block features": "06_models/block_features.lance",
    "image embeddings": "07_model_output/image_embeddings.lance",
    "text embeddings": "07_model_output/text_embeddings.lance",
}
"""Tables with a row per photo or listing."""

MARK: Final = "night.json"
"""File in the bucket with the counts of its edits. A bucket is edited once."""

BATCH: Final = 16


class Row(NamedTuple):
    """A line of a table of the bucket, and its values if it is complete."""

    line: bytes
    values: dict[str, str] | None


def main() -> None:
    """Edit the bucket, run, kill, resume, and print the measures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("lake")
    parser.add_argument("--copy", type=Path, help="edit a copy in this folder")
    parser.add_argument("--added", type=int, default=1_000)
    parser.add_argument("--changed", type=int, default=500)
    parser.add_argument("--removed", type=int, default=500)
    parser.add_argument("--env", default="base", help="environment of the runs")
    parser.add_argument(
        "--kill-after", default="plan_image_embeddings", help="node; empty: no kill"
    )
    parser.add_argument("--kill-seconds", type=float, default=5, help="after the end of that node")
    parser.add_argument("--first-run", type=float, help="seconds of the first run")
    args = parser.parse_args()
    lake = Lake(args.lake)
    raw = copy_bucket(args.raw, args.copy) if args.copy else args.raw
    first_run = args.first_run or longest_seconds(lake)
    edits = edit_bucket(raw, args.added, args.changed, args.removed)
    print(f"{raw}: {edits}", flush=True)
    before = read_keys(args.lake)
    environment = os.environ | {"FB_RAW": str(raw), "FB_LAKE": args.lake}
    killed = 0.0
    if args.kill_after:
        killed = run_and_kill(args.env, environment, args.kill_after, args.kill_seconds)
        print_changes("rows after the kill", before, read_keys(args.lake))
    started = time.monotonic()
    subprocess.run([KEDRO, "run", f"--env={args.env}"], cwd=PROJECT, env=environment, check=True)
    resumed = time.monotonic() - started
    after = read_keys(args.lake)
    report = read_report(lake)
    print_nodes(report)
    print_changes("rows after the night", before, after)
    encoded = len(after["image embeddings"] - before["image embeddings"])
    print(f"photos: {edits['photos_added']:,} added, {encoded:,} encoded")
    night = killed + resumed
    print(
        f"night {night:,.0f} s ({killed:,.0f} s until the kill, {resumed:,.0f} s resumed); first run "
        f"{first_run:,.0f} s; share {night / first_run:.1%}, of the resumed run {resumed / first_run:.1%}; "
        f"peak memory {report['peak_memory_mb']:,.0f} MB"
    )
    started = time.monotonic()
    subprocess.run([KEDRO, "run", f"--env={args.env}"], cwd=PROJECT, env=environment, check=True)
    states = Counter(node["state"] for node in read_report(lake)["nodes"])
    print(f"run without changes: {time.monotonic() - started:,.0f} s, nodes {dict(states)}")


def copy_bucket(raw: Path, folder: Path) -> Path:
    """Copy a bucket, with hard links to its photos; an existing copy is used as it is."""
    if not (folder / "ground_truth.json").exists():
        shutil.copytree(raw / "images", folder / "images", copy_function=os.link)
        shutil.copytree(raw / "Assets", folder / "Assets")
        shutil.copy2(raw / "ground_truth.json", folder)
    return folder


def edit_bucket(raw: Path, added: int, changed: int, removed: int) -> dict[str, int]:
    """Add, change and remove listings of a bucket; return the counts."""
    if (raw / MARK).exists():
        edits: dict[str, int] = json.loads((raw / MARK).read_text())
        return edits
    truth = json.loads((raw / "ground_truth.json").read_text())
    seed, size = truth["seed"], truth["products"]
    products, images = (read_rows(raw / f"Assets/{name}.csv") for name in ("Products", "Images"))
    selected = random.Random(seed).sample(ordinary_listings(products), changed + removed)
    to_change, gone = selected[:changed], set(selected[changed:])

    kept = [row for row in products if id_of(row, "id") not in gone]
    order = {listing: number for number, listing in enumerate(to_change)}
    rows = [
        change_row(row, order[row.values["id"]])
        if row.values and row.values["id"] in order
        else row.line
        for row in kept
    ]
    listings = [generate_listing(seed, size + number) for number in range(added)]
    for number, listing in enumerate(listings):
        listing.fields["product_description"] += f" My reference {size + number}."
    photos = [
        generate_photo(seed, listing, slot)
        for number, listing in enumerate(listings)
        for slot in range(2 if number % 3 else 1)
    ]
    write_photos(raw, seed, photos)
    photos_removed = [
        row.values["id"] for row in images if row.values and id_of(row, "product_id") in gone
    ]
    numbers = range(10 * size, 10 * size + len(photos))  # the first column
    rows += [
        csv_line((str(n), *product_row(one))) for n, one in zip(numbers, listings, strict=False)
    ]
    image_lines = [row.line for row in images if id_of(row, "product_id") not in gone]
    image_lines += [
        csv_line((str(n), *image_row(one))) for n, one in zip(numbers, photos, strict=True)
    ]
    write_lines(raw / "Assets/Products.csv", rows)
    write_lines(raw / "Assets/Images.csv", image_lines)
    for name in photos_removed:
        (raw / f"images/{name}.jpg").unlink(missing_ok=True)
    counts = {
        "added": added,
        "photos_added": len(photos),
        "changed": len(to_change),
        "removed": len(gone),
        "photos_removed": len(photos_removed),
    }
    (raw / MARK).write_text(json.dumps(counts))
    return counts


def read_rows(path: Path) -> list[Row]:
    """Read a table by lines, since lines with faults stay as they are."""
    first, *lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    columns = first.decode().split(",")
    rows = [Row(first, None)]
    for line in lines:
        # A bare carriage return is not the end of a row.
        parts = next(csv.reader([line.decode().replace("\r", "\x00")]), [])
        values = [part.replace("\x00", "\r") for part in parts]
        is_complete = len(values) == len(columns)
        rows.append(Row(line, dict(zip(columns, values, strict=True)) if is_complete else None))
    return rows


def id_of(row: Row, column: str) -> str:
    """Return an id of a row; empty if the row is incomplete."""
    return row.values[column] if row.values else ""


def ordinary_listings(products: list[Row]) -> list[str]:
    """Return the listings with one complete row and an ordinary price, which cleaning accepts."""
    counts = Counter(id_of(row, "id") for row in products)
    return [
        row.values["id"]
        for row in products
        if row.values
        and counts[row.values["id"]] == 1
        and re.fullmatch(r"£\d+\.\d\d", row.values["price"])
        and all(row.values[name].strip() for name in ("id", "product_name", "category", "location"))
    ]


def change_row(row: Row, number: int) -> bytes:
    """Return the row with another price, and in turn with another title or description."""
    assert row.values is not None
    values = row.values | {"price": f"£{number % 400 + 5}.00"}
    if number % 3 == 1:
        title, bar, rest = values["product_name"].partition(" | ")
        values["product_name"] = f"{title} reduced{bar}{rest}"
    elif number % 3 == 2:
        values["product_description"] += f" Now reduced {number}"
    return csv_line(tuple(values.values()))


def csv_line(values: tuple[str, ...]) -> bytes:
    """Return a line of a table, without its end. A bare carriage return is not quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([value.replace("\r", "\x00") for value in values])
    return text.getvalue().replace("\x00", "\r").encode()


def write_lines(path: Path, lines: list[bytes]) -> None:
    """Replace a table."""
    part = path.with_suffix(".part")
    part.write_bytes(b"\n".join(lines) + b"\n")
    part.replace(path)


def write_photos(raw: Path, seed: int, photos: list[Photo]) -> None:
    """Render and write the files of photos."""
    batches = [photos[start : start + BATCH] for start in range(0, len(photos), BATCH)]
    for batch in batches:
        for key, content in render_photo_files(seed, batch):
            (raw / key).write_bytes(content)


def run_and_kill(env: str, environment: dict[str, str], node: str, seconds: float) -> float:
    """Start a run, and kill it some seconds after the end of a node; return its seconds."""
    started = time.monotonic()
    with subprocess.Popen(
        [KEDRO, "run", f"--env={env}"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if f"] {node} " in line:
                break
        else:
            raise SystemExit(f"the run ended before {node}; choose another node by --kill-after")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        print(process.stdout.read(), end="")
    elapsed = time.monotonic() - started
    print(f"killed after {elapsed:,.0f} s (exit status {process.returncode})", flush=True)
    return elapsed


def read_keys(lake: str) -> dict[str, frozenset[str]]:
    """Return the keys of each table."""
    tables = {name: lance.dataset(f"{lake}/{path}") for name, path in TABLES.items()}
    return {
        name: frozenset(table.to_table(columns=[KEY]).column(KEY).to_pylist())
        for name, table in tables.items()
    }


def longest_seconds(lake: Lake) -> float:
    """Return the sum over all nodes of their longest time in the run records."""
    longest: Counter[str] = Counter()
    for record in RunRecords(lake).newest_first():
        longest |= Counter(record.seconds)
    return sum(longest.values())


def read_report(lake: Lake) -> Any:
    """Return the newest run report."""
    paths = (path for path in list_files(lake, "08_reporting") if "/run_report.json/" in path)
    return json.loads(lake.read(max(paths)))


def print_nodes(report: Any) -> None:
    """Print the nodes that were computed, the longest first, and the models that were kept."""
    nodes = [node for node in report["nodes"] if node["state"] == "computed"]
    print(f"\n{'node':<34} {'seconds':>8} {'peak MB':>8}")
    for node in sorted(nodes, key=lambda node: -node["seconds"]):
        print(f"{node['node']:<34} {node['seconds']:>8.1f} {node['peak_memory_mb']:>8,.0f}")
    kept = [node["node"] for node in report["nodes"] if "retained" in node]
    print(f"models kept: {', '.join(kept)}")


def print_changes(
    title: str, before: dict[str, frozenset[str]], after: dict[str, frozenset[str]]
) -> None:
    """Print the rows that were added to and removed from each table."""
    changes = (
        f"{name} +{len(after[name] - keys):,} -{len(keys - after[name]):,}"
        for name, keys in before.items()
    )
    print(f"{title}: {', '.join(changes)}", flush=True)


if __name__ == "__main__":
    main()
