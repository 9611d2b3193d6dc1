"""Requests a second and their latencies: this server, the original's way, and LitServe, in turn.

All serve one ResNet50 and the same photos to 16 clients, each of which waits for its answer and asks again.
The original's way is FastAPI with torch in fp32 within the handler; LitServe gets the graph that we serve.
``--overload`` puts four times what it can carry on this server: how long those wait that are taken on, how
soon the others are told, and how soon all is well again.

Expected before it was measured: 3x the original, as ONNX Runtime is 2.5x torch at batch 1 and 16 threads of
torch fight over the cores; 1x LitServe or little more, as the encoder takes nearly all of the time. Under
four times the load: 503 within 5 ms, as a refusal reads the body and no more.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np
import pandas as pd
import psutil
from http_load import Answer
from photos_of_sample import sample_photos
from serving_original import LABELS, resnet50
from training import recipe

from fb_marketplace.pipelines.release.photo_cutting import cut_photos, write_photo_files
from fb_marketplace.pipelines.vision.backbones import HIDDEN
from fb_marketplace.pipelines.vision.embedding_head import Layer
from fb_marketplace.pipelines.vision.export import export_trained
from fb_marketplace.pipelines.vision.quantisation import quantised
from fb_marketplace.sample.lake import draw_lake
from fb_marketplace.stored_file import StoredFile
from fb_marketplace.tables import Table
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.listings import Listing
from fb_marketplace_serving.manifest import Abstention, Canary, Manifest, artifact_of
from fb_marketplace_serving.photo_files import FOLDER
from fb_marketplace_serving.pointer import publish

HERE: Final = Path(__file__).parent
PATH: Final = "/predict/image"
ROUNDS: Final = 3
CLIENTS: Final = 16
UPLOADS: Final = 64
READY: Final = 120


def main() -> None:
    """Print the comparison, or what becomes of an overload."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=240, help="in a round")
    parser.add_argument("--overload", action="store_true", help="four times what it can carry")
    parser.add_argument("--queue", type=int, default=4, help="places under overload: FB_QUEUE")
    parser.add_argument(
        "--precision", choices=["fp32", "int8"], default="fp32", help="of the graph"
    )
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = make_lake(Path(folder), told.precision)
        if told.overload:
            overload(lake, told.queue)
        else:
            compare(lake, told.requests)


def make_lake(folder: Path, precision: str) -> Path:
    """Make a release of ResNet50 and the sample's photos, and uploads to ask it with."""
    parameters = recipe("resnet50", blocks=1).model_copy(update={"input_side": 224})
    (folder / "parameters.json").write_text(parameters.model_dump_json())
    network = resnet50(parameters)
    graph = export_trained(network, 1.0, Layer(network, HIDDEN))
    images = sample_photos(folder, UPLOADS)
    if precision == "int8":
        graph = quantised(graph, images, list(range(len(images))))
    (folder / "encoder.onnx").write_bytes(graph)
    (folder / "uploads").mkdir()
    for key, content in uploads():
        (folder / "uploads" / key).write_bytes(content)
    publish_release(folder, images, graph)
    return folder


def publish_release(folder: Path, images: Table, graph: bytes) -> None:
    """Publish a release of some photos, each of a listing of its own."""
    photos_of = images.take(range(len(images)), ["image_id", "jpeg"])
    ids = photos_of.column("image_id").to_pylist()
    jpegs = photos_of.column("jpeg").to_pylist()
    encoding = Encoder.from_bytes(graph).encode(np.stack([photos.pixels(jpeg) for jpeg in jpegs]))
    index = Index.build_flat(encoding.embeddings, ids, ids)
    listing = ("A thing", 1.0, "GBP", LABELS[0], LABELS[0], None, None)
    listings = pd.DataFrame([(name, *listing) for name in ids], columns=list(Listing._fields))
    index_bytes, ids_bytes = index.to_bytes()
    files = {
        "encoder": graph,
        "index": index_bytes,
        "ids": ids_bytes,
        "listings": listings.to_parquet(),
        "photos": cut_photos(images),
        "measures": b"",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / FOLDER).mkdir(parents=True)
    for file in write_photo_files(images, StoredFile(str(folder / "photos")), {}):
        (folder / FOLDER / file.name).write_bytes(file.data)
    lake = str(folder)
    canary = Canary(
        image_id=ids[0],
        photo=base64.b64encode(jpegs[0]).decode(),
        probabilities=encoding.probabilities[0].tolist(),
        embedding=encoding.embeddings[0].tolist(),
        neighbours=[ids[0]],
    )
    publish(
        lake,
        Manifest(
            version="v1",
            created="2026-03-01T12:00:00Z",
            code_revision="none",
            data_digest="0" * 64,
            artifacts={name: artifact_of(lake, name) for name in files},
            labels=LABELS,
            abstention=Abstention(threshold=0.5, error=0.05),
            photos_version=photos.VERSION,
            embedding_dimension=encoding.embeddings.shape[1],
            counts={"photos": len(ids)},
            metrics={},
            canaries=(canary,),
        ),
    )


def uploads() -> Iterator[tuple[str, bytes]]:
    """Give photos as they are uploaded: the sample's, whole."""
    found = 0
    for key, content in draw_lake(200, 7).files():
        if not key.endswith(".jpg") or found == UPLOADS:
            continue
        try:
            photos.canonical(content)
        except photos.PhotoError:  # the sample has damaged files on purpose
            continue
        found += 1
        yield Path(key).name, content


def compare(lake: Path, count: int) -> None:
    """Put the same load on each server, round by round; print medians, and ratios within a round."""
    rates: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    answers: dict[str, list[str]] = {}
    for _ in range(ROUNDS):
        for name, start in WAYS.items():
            with running(start(lake)) as (port, _):
                ask(port, lake, count=32)
                found = ask(port, lake, count=count)
            refused = [answer.status for answer in found if answer.status != 200]
            if refused:
                raise SystemExit(
                    f"{name}: {len(refused)} of {count} were not answered: {refused[:5]}"
                )
            rates.setdefault(name, []).append(rate_of(found))
            tails.setdefault(name, []).append(quantile(found, 0.99))
            answers[name] = [answer.category for answer in found]
    ours = next(iter(WAYS))
    print(f"{CLIENTS} clients, {count} requests a round {'requests/s':>12} {'p99 ms':>8}  ours is")
    for name in WAYS:
        faster = statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True))
        tail = statistics.median(a / b for a, b in zip(tails[ours], tails[name], strict=True))
        print(
            f"{name:36} {statistics.median(rates[name]):9.1f} {statistics.median(tails[name]) * 1000:9.0f}"
            f"  {faster:.2f}x as quick, p99 {tail:.2f} of it",
            flush=True,
        )


def overload(lake: Path, queue: int) -> None:
    """Print what becomes of four times what the server can carry.

    With few places: what is taken on waits for those before it, and no longer.
    """
    with running(ours(lake), FB_QUEUE=str(queue)) as (port, process):
        ask(port, lake, count=32, clients=queue)
        carried = rate_of(ask(port, lake, count=240, clients=queue))
        half = ask(port, lake, rate=carried / 2, seconds=20)
        before = memory(process)
        with watched(process) as seen:
            flood = ask(port, lake, rate=4 * carried, seconds=20)
        after = ask(port, lake, count=int(2 * carried), clients=queue)
    taken = [answer for answer in flood if answer.status == 200]
    told = [answer for answer in flood if answer.status == 503]
    other = len(flood) - len(taken) - len(told)
    calm, busy = quantile(half, 0.99), quantile(taken, 0.99)
    print(f"it carries {carried:.1f} requests a second; p99 at half of that {calm * 1000:.0f} ms")
    print(
        f"at four times that, of {len(flood):,}: {len(taken):,} answered, p99 {busy * 1000:.0f} ms "
        f"({busy / calm:.2f}x); {len(told):,} told 503, median {quantile(told, 0.5) * 1000:.1f} ms; "
        f"{other} anything else"
    )
    print(f"memory {before:.0f} MB before, {max(seen):.0f} MB at most during it")
    print(f"in the two seconds after: {rate_of(after) / carried:.2f} of the speed before")


def ours(lake: Path) -> list[str]:
    """Give the command of this server, but for its port."""
    command = str(Path(sys.executable).with_name("fb-serve"))
    return [command, "run", "--lake", str(lake), "--port"]


def original(lake: Path) -> list[str]:
    """Give the command of the original's way, but for its port."""
    return [sys.executable, str(HERE / "serving_original.py"), str(lake)]


def litserve(lake: Path) -> list[str]:
    """Give the command of LitServe, but for its port."""
    return [sys.executable, str(HERE / "serving_litserve.py"), str(lake)]


WAYS: Final = {
    "ours": ours,
    "the original's (FastAPI, torch fp32)": original,
    "LitServe, our graph": litserve,
}


@contextmanager
def running(command: Sequence[str], **settings: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server on a free port until it is no longer needed."""
    port = free_port()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*command, str(port)], stdout=said, stderr=said, env=os.environ | settings
        ) as process,
    ):
        tree = psutil.Process(process.pid)
        try:
            until_ready(port, process, said)
            yield port, tree
        finally:
            if process.poll() is None:
                for each in [*tree.children(recursive=True), tree]:
                    each.kill()


def until_ready(port: int, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    """Wait until a server takes connections and can answer."""
    for _ in range(READY * 10):
        if process.poll() is not None:
            said.seek(0)
            raise SystemExit(
                f"{process.args} ended with {process.returncode}: {said.read()[-2000:]}"
            )
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{process.args} did not answer within {READY} s")


def free_port() -> int:
    """Find a port that is free now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def ask(
    port: int,
    lake: Path,
    *,
    count: int = 0,
    clients: int = CLIENTS,
    rate: float = 0.0,
    seconds: float = 0.0,
) -> list[Answer]:
    """Put a load on a server from a process of its own."""
    command = [sys.executable, str(HERE / "http_load.py"), str(port), PATH, str(lake / "uploads")]
    command += [f"--clients={clients}", f"--count={count}"]
    if rate:
        command += [f"--rate={rate}", f"--seconds={seconds}"]
    found = subprocess.run(command, check=True, capture_output=True)
    return [Answer(*each) for each in json.loads(found.stdout)]


def rate_of(answers: Sequence[Answer]) -> float:
    """Give the answers a second."""
    ends = max(answer.sent + answer.took for answer in answers)
    return len(answers) / (ends - min(answer.sent for answer in answers))


def quantile(answers: Sequence[Answer], share: float) -> float:
    """Give a quantile of the latencies, in seconds."""
    return float(np.quantile([answer.took for answer in answers], share))


def memory(process: psutil.Process) -> float:
    """Give the resident memory of a server in MB."""
    return float(process.memory_info().rss / 1e6)


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[float]]:
    """Look at the memory of a server ten times a second."""
    seen, over = [memory(process)], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append(memory(process))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
