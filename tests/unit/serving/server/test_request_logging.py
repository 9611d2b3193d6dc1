"""Log lines of all libraries: JSON, ASCII, bounded."""

import json
import logging
import subprocess
import sys

import pytest

from fb_marketplace_serving.server.request_logging import _JsonFormatter, _RepeatFilter, log_fields

NOISE = """
import gc, logging, sys, threading, warnings
from fb_marketplace_serving.server.request_logging import LOG, configure_json_logging, log_fields

configure_json_logging("info")
LOG.info("request", extra=log_fields(path="/a"))
logging.getLogger("botocore").warning("retry %s", 1)
logging.getLogger("uvicorn.error").error("cancelled")
logging.getLogger("a.library").info("hidden")
warnings.warn("old function")
warnings.warn("old name", DeprecationWarning)
try:
    1 / 0
except ZeroDivisionError:
    LOG.exception("internal error")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()

class Bad:
    def __del__(self):
        raise ValueError("in a finalizer")

bad = Bad()
del bad
gc.collect()
raise SystemError("at the end")
"""


def record(message, *arguments, level=logging.WARNING, name="fb_serve", **fields):
    result = logging.LogRecord(name, level, "file.py", 1, message, arguments, None)
    return result if not fields else logging.makeLogRecord(result.__dict__ | log_fields(**fields))


def format_(line):
    return _JsonFormatter().format(line)


def test_every_line_of_every_library_is_json(environment):
    run = subprocess.run(
        [sys.executable, "-c", NOISE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert run.returncode == 1
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    events = [line["event"].split("\n")[0] for line in lines]
    assert events[:3] == ["request", "retry 1", "cancelled"]
    assert lines[1]["logger"] == "botocore"
    errors = "".join(line.get("error", "") for line in lines)
    for text in ("ZeroDivisionError", "in a finalizer", "at the end"):
        assert text in errors
    assert any("old function" in event for event in events)
    assert all(line["time"] and line["level"] for line in lines)


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "a\nb\r", "\x7f\x85\x9b", "\u2028\u202e", "\ud800", "ä"]
)
def test_line_has_no_control_characters(text):
    line = format_(record(text, path=text, other=[text]))

    assert line.isascii()
    assert line.isprintable()
    parsed = json.loads(line)
    assert (parsed["event"], parsed["path"], parsed["other"]) == (text, text, [text])


def test_line_is_bounded():
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        line = record("y" * 100_000, path="z" * 100_000)
        line.exc_info = sys.exc_info()

    assert len(format_(line)) < 10_000


def test_repeated_warnings_are_counted_instead():
    now = [0.0]
    limit = _RepeatFilter(lambda: now[0])

    passed = [limit.filter(record("refused %s", number)) for number in range(100)]
    other = limit.filter(record("other"))
    now[0] = 61
    later = record("refused %s", 100)

    assert sum(passed) == 20
    assert other
    assert limit.filter(later)
    assert json.loads(format_(later)).keys() >= {"event"}


def test_number_of_dropped_lines_is_in_the_next_line():
    limit = _RepeatFilter(lambda: 0.0)
    for number in range(50):
        limit.filter(record("refused %s", number))
    line = record("other", path="/a")
    limit.filter(line)

    assert json.loads(format_(line)) | {"time": ""} == {
        "time": "",
        "level": "warning",
        "event": "other",
        "path": "/a",
        "dropped_lines": 30,
    }


def test_many_kinds_of_warnings_are_bounded():
    limit = _RepeatFilter(lambda: 0.0)

    assert sum(limit.filter(record(f"warning {number}")) for number in range(5000)) == 1000


def test_requests_are_never_dropped():
    limit = _RepeatFilter(lambda: 0.0)

    assert all(limit.filter(record("request", level=logging.INFO)) for _ in range(1000))
