"""Latency of completions over HTTP while 16 clients ask, with the words of 100,000 titles.

Titles are drawn from the words of the release in FB_LAKE (``data`` by default), and invented words. Server
and clients have a core each. Closed loop: each client asks when it has the answer. Typing: 100 prefixes a
second, as 16 people type. Liveness probes, the cheapest route, take turns with the closed loop.

Expected before measuring: 0.15 ms for the completion and 0.4 ms for HTTP, so 16 x 0.55 = 9 ms in a closed
loop.
"""

import argparse
import json
import os
import random
import socket
import string
import subprocess
import sys
import tempfile
from dataclasses import replace

import psutil
from http_load import Answer
from long.spelling import make_bm25, make_listings
from server_process import CLIENTS, HERE, quantile, running

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.listings.gazetteer import COLUMNS, Gazetteer
from fb_marketplace_serving.search.query.understanding import QueryUnderstanding
from fb_marketplace_serving.search.tokenizer import words
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.request_logging import configure_json_logging
from fb_marketplace_serving.server.service import Service
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.transport.process import Server

TITLES, TITLE_WORDS, INVENTED, PREFIXES = 100_000, 6, 60_000, 20_000
REQUESTS, TURNS, TYPED_PER_SECOND, TYPING_SECONDS = 8_000, 5, 100, 20


def main() -> None:
    """Print quantiles of latencies, and the server's CPU time."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--serve", type=int, metavar="PORT", help="only serve")
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    with (
        tempfile.NamedTemporaryFile("w") as typed,
        running([sys.executable, __file__, "--serve"]) as (port, process),
    ):
        # Many people begin alike: a prefix of a frequent word is frequent.
        rng, pool = random.Random(1), words_of(Release.open(os.environ.get("FB_LAKE", "data")))
        pairs = [" ".join(rng.choices(pool, k=2)) for _ in range(PREFIXES)]
        typed.write("\n".join(pair[: rng.randint(1, len(pair))].strip() for pair in pairs))
        typed.flush()
        process.cpu_affinity([server_core])
        psutil.Process().cpu_affinity([client_core])
        load = [sys.executable, str(HERE / "http_load.py"), str(port)]
        for _ in range(TURNS):
            for path in ("/suggest", "/livez"):
                before = sum(process.cpu_times()[:2])
                answers = ask([*load, path, typed.name, f"--count={REQUESTS}"])
                cpu = (sum(process.cpu_times()[:2]) - before) / len(answers)
                report(f"{CLIENTS} clients, {path}", answers, f"{1e3 * cpu:.2f} ms CPU each")
        typing = [f"--rate={TYPED_PER_SECOND}", f"--seconds={TYPING_SECONDS}"]
        report("typing", ask([*load, "/suggest", typed.name, *typing]))


def serve(port: int) -> None:
    """Serve the release in FB_LAKE with the words of 100,000 titles."""
    settings, rng = Settings(port=port), random.Random(0)
    release = Release.open(settings.lake)
    pool = words_of(release)
    invented = ["".join(rng.choices(string.ascii_lowercase, k=8)) for _ in range(INVENTED)]
    titles = [" ".join(rng.choices(pool, k=TITLE_WORDS)) for _ in range(TITLES)]
    for number, word in enumerate(invented):
        titles[number] += f" {word}"
    configure_json_logging(settings.log_level)
    app = create_app(release, settings)
    service: Service = app.state.service
    nowhere = Gazetteer([[] for _ in COLUMNS])
    queries = QueryUnderstanding(make_listings(titles), make_bm25(titles), nowhere)
    service.current = replace(service.current, queries=queries)
    Server(app, settings, lambda: None).run([socket.create_server((settings.host, port))])


def words_of(release: Release) -> list[str]:
    """Return the words of all titles, as often as they occur."""
    return [word for listing in release.listings.values() for word in words(listing.title)]


def ask(command: list[str]) -> list[Answer]:
    """Put a load on the server from a separate process."""
    answers = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [Answer(*answer) for answer in answers]


def report(name: str, answers: list[Answer], note: str = "") -> None:
    """Print quantiles of latencies."""
    failed = sum(answer.status != 200 for answer in answers)
    p50, p99 = (1e3 * quantile(answers, share) for share in (0.5, 0.99))
    print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {failed} failed  {note}", flush=True)


if __name__ == "__main__":
    main()
