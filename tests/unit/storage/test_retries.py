"""Work on a table that the store breaks off."""

import time

import pytest

from fb_marketplace.storage import retries
from fb_marketplace.storage.retries import again_if_broken


@pytest.fixture
def begun(monkeypatch):
    """How often work was begun; it takes longer than the patience, and nobody waits long after it."""
    monkeypatch.setattr(retries, "PATIENCE", 0.01)
    monkeypatch.setattr(retries, "LONGEST_WAIT", 0.01)
    return []


def long_work(begun, breaks):
    @again_if_broken
    def work():
        begun.append(None)
        time.sleep(0.02)
        if len(begun) <= breaks:
            raise OSError("LanceError(IO): the connection was reset")
        return "done"

    return work


def test_what_breaks_off_after_longer_than_the_patience_is_begun_anew(begun):
    assert long_work(begun, breaks=1)() == "done"


def test_what_breaks_off_whenever_it_is_begun_is_given_up(begun):
    with pytest.raises(ConnectionError, match="in 2 tries"):
        long_work(begun, breaks=99)()

    assert len(begun) == 2


def test_what_is_no_fault_of_the_store_is_not_begun_anew(begun):
    @again_if_broken
    def wrong():
        begun.append(None)
        raise ValueError("there is no column of this name")

    with pytest.raises(ValueError, match="no column"):
        wrong()

    assert len(begun) == 1
