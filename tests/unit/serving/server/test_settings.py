"""Settings from environment variables."""

import os

import pytest
from pydantic import ValidationError

from fb_marketplace_serving.server import settings
from fb_marketplace_serving.server.settings import Settings


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FB_QUEUE", "FB_MAX_IN_FLIGHT"),
        ("FB_FOLLOW_SECONDS", "FB_RELEASE_POLL_SECONDS"),
        ("FB_ENCODER_LANES", "FB_ENCODER_WORKERS"),
        ("FB_REQUEST_SECONDS", "FB_REQUEST_TIMEOUT_SECONDS"),
        ("FB_DRAIN_SECONDS", "FB_SHUTDOWN_GRACE_SECONDS"),
        ("FB_FEEDBACK", "FB_FEEDBACK_DIR"),
    ],
)
def test_settings_renamed_variable_gives_new_name(monkeypatch, old, new):
    monkeypatch.setenv(old, "1")

    with pytest.raises(ValidationError, match=f"{old} is now {new}"):
        Settings()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)],
)
def test_cores_are_limited_by_the_quota(monkeypatch, tmp_path, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(settings, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)

    assert settings.cores() == expected


def test_settings_new_variable_is_read(monkeypatch):
    monkeypatch.setenv("FB_MAX_IN_FLIGHT", "7")

    assert Settings().max_in_flight == 7


def test_trusted_proxies_are_addresses_or_networks():
    assert Settings(trusted_proxies="10.0.0.1, 192.168.0.0/16").trusted_proxies == (
        "10.0.0.1",
        "192.168.0.0/16",
    )
    for invalid in ("*", "proxy.example", "10.0.0.1/8"):
        with pytest.raises(ValidationError, match="expected addresses or networks"):
            Settings(trusted_proxies=invalid)


def test_short_feedback_key_is_rejected():
    assert Settings(feedback_key="k" * 16).feedback_key.get_secret_value() == "k" * 16
    with pytest.raises(ValidationError, match="16 characters"):
        Settings(feedback_key="short")


def test_two_api_keys_of_one_name_are_rejected():
    old, new = "o" * 16, "n" * 16

    assert Settings(api_keys=f"shop:{old}, shop2:{new}").keys == {"shop": old, "shop2": new}
    with pytest.raises(ValidationError, match="entry 2 repeats the name"):
        Settings(api_keys=f"shop:{old},shop:{new}")
