import time

from fb_marketplace_serving.server.auth import Keys, RateLimit

KEYS = {"shop": "a-key-of-the-shop", "app": "a-key-of-the-app!"}


def test_key_has_its_name():
    keys = Keys(KEYS)

    assert keys.client_name("a-key-of-the-shop") == "shop"
    assert keys.client_name("a-key-of-the-app!") == "app"


def test_unknown_key_has_no_name():
    keys = Keys(KEYS)

    assert [keys.client_name(key) for key in ("", "a-key-of-the-sho", "shop", "ключ")] == [None] * 4


def test_no_keys_means_no_authentication():
    assert not Keys({})
    assert Keys(KEYS)


def test_keys_are_not_stored():
    assert "a-key" not in str(vars(Keys(KEYS)))


def test_rate_limit_per_key():
    rate = RateLimit("2/minute")

    assert [rate.hit("shop") for _ in range(2)] == [None, None]
    seconds = rate.hit("shop")
    assert seconds is not None
    assert 1 <= seconds <= 60
    assert rate.hit("app") is None


def test_retry_after_is_at_least_one_second(monkeypatch):
    rate = RateLimit("1/minute")
    rate.hit("shop")
    monkeypatch.setattr(rate._window, "get_window_stats", lambda *_: (time.time() - 5, 0))

    assert rate.hit("shop") == 1
