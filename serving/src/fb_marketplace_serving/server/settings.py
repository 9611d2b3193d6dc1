"""What the server can be told, by environment variables that begin with ``FB_``."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fb_marketplace_serving.imaging.canonical import Limits
from fb_marketplace_serving.server.feedback_writer import check_writable

MIN_KEY_LENGTH: Final = 16
"""A shorter key could be guessed."""

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """Settings of the server; ``FB_LAKE``, ``FB_PORT`` and so on.

    Attributes:
        lake: root of the lake that has the release: a path or any fsspec URL.
        host: address to listen on; the default is reached from this machine only.
        port: port to listen on; 0 takes any that is free.
        max_upload_bytes: size above which an upload is refused.
        max_pixels: pixels above which a photo is refused without decoding it.
        encoder_threads: threads that one batch may use in the encoder.
        encoder_lanes: batches that are encoded at once; without it, as many as the cores have room for.
        max_batch: photos that are encoded together at most; of more, a core takes no less time each, and
            the last waits longer.
        batch_wait_ms: how long a photo may wait for others that are being decoded to join its batch.
        queue: photos that may be waiting or worked on at once; one more is answered 503.
        request_seconds: how long a request may take before it is given up.
        drain_seconds: how long requests in flight may take to end once the server is told to stop.
        follow_seconds: how often the lake is asked which release is in force; 0 keeps to the first.
        api_keys: ``name:key``, separated by commas; without any, the server is open.
        rate_limit: requests that a key, or an address where there are no keys, may make, such as
            ``600/minute``; without it, any number.
        cors_origins: origins whose pages may call the server, separated by commas; none by default.
        feedback: a folder of this machine that searches by words, and what was clicked, are written to;
            without it, nothing is.
        log_level: debug, info (a line a request), warning or error.
    """

    model_config = SettingsConfigDict(env_prefix="FB_", frozen=True)

    lake: str = "data"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=Limits().max_bytes, ge=1)
    # Pillow itself refuses more, as a decompression bomb.
    max_pixels: int = Field(default=Limits().max_pixels, ge=1, le=178_956_970)
    encoder_threads: int = Field(default=1, ge=1)
    encoder_lanes: int | None = Field(default=None, ge=1)
    max_batch: int = Field(default=2, ge=1, le=256)
    batch_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    queue: int = Field(default=32, ge=1)
    request_seconds: float = Field(default=10.0, gt=0)
    drain_seconds: int = Field(default=10, ge=0)
    follow_seconds: float = Field(default=5.0, ge=0)
    api_keys: SecretStr = SecretStr("")
    rate_limit: str | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    feedback: Path | None = None
    log_level: LogLevel = "info"

    @field_validator("api_keys")
    @classmethod
    def _are_named(cls, keys: SecretStr) -> SecretStr:
        # The message names no key: it is shown.
        for place, entry in enumerate(_parts(keys.get_secret_value()), start=1):
            name, colon, key = entry.partition(":")
            if not (colon and name and len(key) >= MIN_KEY_LENGTH):
                raise ValueError(
                    f"entry {place} is not of the form name:key with a key of {MIN_KEY_LENGTH} characters "
                    "or more"
                )
        return keys

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, rate: str | None) -> str | None:
        from limits import parse

        if rate:
            try:
                parse(rate)
            except ValueError:
                raise ValueError("expected a number and a time, such as 600/minute") from None
        return rate or None

    @field_validator("feedback", mode="before")
    @classmethod
    def _can_be_written(cls, folder: object) -> object:
        if not folder:
            return None
        if "://" in str(folder):
            raise ValueError("expected a folder of this machine")
        return check_writable(Path(str(folder)))

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, origins: object) -> object:
        return tuple(_parts(origins)) if isinstance(origins, str) else origins

    @property
    def limits(self) -> Limits:
        """What is refused before anything is decoded."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)

    @property
    def lanes(self) -> int:
        """How many batches are encoded at once."""
        return self.encoder_lanes or max(1, cores() // self.encoder_threads)

    @property
    def keys(self) -> dict[str, str]:
        """The keys by their names."""
        entries = (entry.partition(":") for entry in _parts(self.api_keys.get_secret_value()))
        return {name: key for name, _, key in entries}


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _parts(told: str) -> list[str]:
    return [part.strip() for part in told.split(",") if part.strip()]
