import json
import threading
import time
from collections import Counter

import pytest

from fb_marketplace_serving.feedback.events import (
    ClickLine,
    RequestedFilters,
    SearchLine,
)
from fb_marketplace_serving.server import feedback_writer
from fb_marketplace_serving.server.feedback_writer import (
    FeedbackLimits,
    FeedbackWriter,
    SearchIds,
    append_line,
    check_writable,
)

TIME = "2026-03-01T23:59:59.999+00:00"


def click(search_id="a" * 32, time=TIME):
    return ClickLine(search_id=search_id, time=time, product_id="prd-red")


def search(words="oak chair", **values):
    line = {
        "search_id": "a" * 32,
        "time": TIME,
        "release": "v1",
        "words": words,
        "filters": RequestedFilters(),
        "offset": 0,
        "product_ids": ["p", "q"],
    }
    return SearchLine(**line | values)


@pytest.fixture
def fates():
    return Counter()


@pytest.fixture
def log(tmp_path, fates):
    created = FeedbackWriter(tmp_path, lambda fate: fates.update([fate]))
    yield created
    created.close()


def test_events_are_appended_to_daily_files_by_kind(log, tmp_path, fates):
    for words in ("one", "two"):
        log.add("searches", search(words), "someone")
    log.add("clicks", click(), "someone")
    log.add("clicks", click(time="2026-03-02T00:00:00.000+00:00"), "someone")
    log.close()

    assert {file.name for file in tmp_path.iterdir()} == {
        "searches-2026-03-01.jsonl",
        "clicks-2026-03-01.jsonl",
        "clicks-2026-03-02.jsonl",
    }
    lines = (tmp_path / "searches-2026-03-01.jsonl").read_text().splitlines()
    assert [json.loads(line)["words"] for line in lines] == ["one", "two"]
    assert fates == {"written": 4}


def test_event_round_trips_through_line(log, tmp_path):
    line = search(
        'says "größe"\n',
        filters=RequestedFilters(categories=["Home / Chairs"], max_price=9.5, near="York"),
    )
    log.add("searches", line, "someone")
    log.close()

    (written,) = (tmp_path / "searches-2026-03-01.jsonl").read_bytes().splitlines()
    assert SearchLine.model_validate_json(written) == line


def test_fields_of_later_version_are_ignored():
    values = json.loads(click().model_dump_json()) | {"later": 1}

    assert ClickLine.model_validate_json(json.dumps(values)) == click()


def test_search_line_of_version_0_1_is_read():
    line = json.loads(search().model_dump_json())
    line["shown"] = line.pop("product_ids")
    del line["filters"]["diversity"]
    line["filters"] |= {"sort": "price", "spread": 0.5}

    old = SearchLine.model_validate_json(json.dumps(line))

    assert old.product_ids == ["p", "q"]
    assert old.filters.diversity == 0.5


def test_page_with_duplicate_listing_is_rejected():
    with pytest.raises(ValueError, match="twice"):
        search(product_ids=["p", "q", "p"])


def test_search_ids_are_unique():
    ids = SearchIds(None)

    assert len({ids.issue() for _ in range(100)}) == 100
    assert search(search_id=ids.issue())


def test_search_id_is_recent_for_two_hours():
    now = [1_800_000_000.0]
    ids = SearchIds(None, lambda: now[0])
    search_id = ids.issue()

    assert ids.is_recent(search_id)
    now[0] += 7199
    assert ids.is_recent(search_id)
    now[0] += 2
    assert not ids.is_recent(search_id)


def test_search_id_of_another_server_is_unknown_unless_the_key_is_shared():
    search_id = SearchIds("k" * 16).issue()

    assert not SearchIds(None).is_recent(search_id)
    assert not SearchIds("o" * 16).is_recent(search_id)
    assert SearchIds("k" * 16).is_recent(search_id)


def test_changed_search_id_is_unknown():
    ids = SearchIds(None)
    search_id = ids.issue()
    for position in range(32):
        other = "0" if search_id[position] != "0" else "1"
        assert not ids.is_recent(search_id[:position] + other + search_id[position + 1 :])


def test_day_is_limited_in_size(tmp_path, fates):
    size = len(click().model_dump_json()) + 1
    limits = FeedbackLimits(max_bytes=3 * size)
    log = FeedbackWriter(tmp_path, lambda fate: fates.update([fate]), limits=limits)

    for _ in range(100):
        log.add("clicks", click(), "someone")
    log.close()

    assert (tmp_path / "clicks-2026-03-01.jsonl").stat().st_size == 3 * size
    assert fates == {"written": 3, "limited": 97}


def test_client_is_limited_in_number_of_events_each_day(tmp_path, fates):
    limits = FeedbackLimits(max_events_per_client=2)
    log = FeedbackWriter(tmp_path, lambda fate: fates.update([fate]), limits=limits)
    next_day = click(time="2026-03-02T00:00:00.000+00:00")

    taken = [log.add("clicks", click(), client) for client in "aaab"]
    taken += [log.add("clicks", next_day, "a")]
    log.close()

    assert taken == [True, True, False, True, True]
    assert fates == {"written": 4, "limited": 1}


def test_event_over_queue_limit_is_dropped_and_counted(tmp_path, fates, monkeypatch):
    existing = threading.Event()
    monkeypatch.setattr(feedback_writer, "append_line", lambda *_: existing.wait(10))
    log = FeedbackWriter(tmp_path, lambda fate: fates.update([fate]), queue_size=2)

    taken = [log.add("clicks", click(), "someone") for _ in range(5)]
    existing.set()
    log.close()

    assert taken == [True, True, False, False, False]
    assert fates == {"written": 2, "dropped": 3}


def test_queue_slot_is_free_after_write(tmp_path, fates):
    log = FeedbackWriter(tmp_path, lambda fate: fates.update([fate]), queue_size=1)
    deadline = time.monotonic() + 10
    for _ in range(3):
        while not log.add("clicks", click(), "someone"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    log.close()

    assert len((tmp_path / "clicks-2026-03-01.jsonl").read_text().splitlines()) == 3


def test_closed_log_drops_events(log, fates):
    log.close()

    assert not log.add("clicks", click(), "someone")
    assert fates == {"dropped": 1}


def test_failed_write_is_counted_and_next_succeeds(log, tmp_path, fates):
    (tmp_path / "clicks-2026-03-01.jsonl").mkdir()

    assert log.add("clicks", click(), "someone")
    assert log.add("clicks", click(time="2026-03-02T00:00:00.000+00:00"), "someone")
    log.close()

    assert fates == {"failed": 1, "written": 1}


def test_partial_line_of_killed_server_spoils_no_other(tmp_path):
    file = tmp_path / "clicks.jsonl"
    file.write_bytes(b'{"half": ')

    append_line(file, b"one", 1000)
    append_line(file, b"two", 1000)

    assert file.read_bytes() == b'{"half": \none\ntwo\n'


def test_write_without_disk_space_leaves_nothing(tmp_path, monkeypatch):
    file = tmp_path / "clicks.jsonl"
    append_line(file, b"one", 1000)
    write = feedback_writer.os.write
    with monkeypatch.context() as full:
        full.setattr(feedback_writer.os, "write", lambda to, data: write(to, data[:2]))
        with pytest.raises(OSError, match="2 of 4 bytes"):
            append_line(file, b"two", 1000)

    append_line(file, b"three", 1000)

    assert file.read_bytes() == b"one\nthree\n"


def test_event_files_are_not_world_readable(tmp_path):
    append_line(tmp_path / "clicks.jsonl", b"one", 1000)

    assert (tmp_path / "clicks.jsonl").stat().st_mode & 0o007 == 0


def test_check_writable_creates_folder_and_leaves_no_file(tmp_path):
    folder = check_writable(tmp_path / "a/b")

    assert list(folder.iterdir()) == []


def test_check_writable_names_reason(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ValueError, match="File exists"):
        check_writable(tmp_path / "file")
