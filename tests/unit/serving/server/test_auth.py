import time

from fb_marketplace_serving.server.auth import Keys, RateLimit

KEYS = {"shop": "a-key-of-the-shop", "app": "a-key-of-the-app!"}


def test_a_key_tells_whose_it_is():
    keys = Keys(KEYS)

    assert keys.name_of("a-key-of-the-shop") == "shop"
    assert keys.name_of("a-key-of-the-app!") == "app"


def test_another_key_is_nobodys():
    keys = Keys(KEYS)

    assert [keys.name_of(key) for key in ("", "a-key-of-the-sho", "shop", "ключ")] == [None] * 4


def test_without_keys_there_is_nothing_to_ask_for():
    assert not Keys({})
    assert Keys(KEYS)


def test_keys_are_not_kept():
    assert "a-key" not in str(vars(Keys(KEYS)))


def test_a_name_may_ask_as_often_as_the_rate_says():
    rate = RateLimit("2/minute")

    assert [rate.hit("shop") for _ in range(2)] == [None, None]
    seconds = rate.hit("shop")
    assert seconds is not None
    assert 1 <= seconds <= 60
    assert rate.hit("app") is None


def test_the_time_until_the_next_is_at_least_a_second_though_it_has_just_passed(monkeypatch):
    rate = RateLimit("1/minute")
    rate.hit("shop")
    monkeypatch.setattr(rate._window, "get_window_stats", lambda *_: (time.time() - 5, 0))

    assert rate.hit("shop") == 1
