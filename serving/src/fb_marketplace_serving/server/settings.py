"""Server settings from environment variables with the prefix ``FB_``."""

import math
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fb_marketplace_serving.ann.vector_table import CACHE_BYTES, DISK_BYTES
from fb_marketplace_serving.imaging.canonical import Limits
from fb_marketplace_serving.server.feedback_writer import FeedbackLimits, check_writable

MIN_KEY_LENGTH: Final = 16

_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time, and the period in which this container may use them."""
"""Minimum characters of an API key. Shorter keys could be guessed."""

_RENAMED: Final = {
    "FB_QUEUE": "FB_MAX_IN_FLIGHT",
    "FB_FOLLOW_SECONDS": "FB_RELEASE_POLL_SECONDS",
    "FB_ENCODER_LANES": "FB_ENCODER_WORKERS",
    "FB_REQUEST_SECONDS": "FB_REQUEST_TIMEOUT_SECONDS",
    "FB_DRAIN_SECONDS": "FB_SHUTDOWN_GRACE_SECONDS",
    "FB_FEEDBACK": "FB_FEEDBACK_DIR",
}
"""Environment variables of version 0.1 and their new names."""

LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """Server settings: ``FB_LAKE``, ``FB_PORT`` and so on.

    Attributes:
        lake: path or fsspec URL of the lake.
        host: address to listen on. The default accepts connections from this machine only.
        port: port to listen on; 0 chooses a free port.
        max_upload_bytes: maximum size of an upload.
        max_pixels: maximum pixels of a photo, checked before decoding.
        encoder_threads: threads of the encoder per batch.
        encoder_workers: batches encoded in parallel; by default, as many as fit the cores.
        max_batch: maximum photos of a batch. Two take a tenth less time per photo than one in a small
            network. Larger batches save little more, and the first photo waits longer.
        batch_wait_ms: time that a photo waits for others that are being decoded to join its batch, if there
            are fewer encoder workers than cores.
        max_in_flight: maximum photos in flight, and maximum searches; more are rejected with a 503. An
            eighth of it for large photos.
        client_share: largest share of these that one client may have in flight; more are rejected with
            a 429. A client is a key, or an address if there are no keys.
        request_timeout_seconds: maximum time of a request.
        max_connections: maximum open connections. At the limit, a new one replaces the connection that has
            waited longest without a complete request. Lowered to fit the limit on open files.
        max_header_bytes: maximum size of a URL, and of a URL with all headers.
        header_timeout_seconds: maximum time of the headers of a request.
        keep_alive_seconds: maximum time between two requests on a connection.
        min_upload_rate: minimum bytes per second of a request body, measured over five seconds.
        shutdown_grace_seconds: time for requests in flight to complete on shutdown.
        release_poll_seconds: interval of checks for a new release; 0 disables them.
        api_keys: comma-separated ``name:key`` pairs; if empty, no key is required.
        monitoring_key: key that ``/readyz`` and ``/metrics`` require, as ``X-API-Key`` or bearer token; by
            default, none.
        rate_limit: requests allowed per key, or per address if there are no keys, such as
            ``600/minute``; by default unlimited.
        trusted_proxies: comma-separated addresses or networks of proxies whose ``X-Forwarded-For`` is
            trusted; none by default.
        public_url: public address of the search page, for link previews, such as
            ``https://market.example/``; by default unknown.
        cors_origins: comma-separated origins whose pages may call the server; none by default.
        feedback_dir: local folder for search and click events; by default, none are written.
        feedback_key: secret that signs the ids of searches; by default, random. Servers behind one address
            need the same.
        feedback_max_bytes_per_day: maximum size of each of the two files of a day.
        feedback_max_events_per_client: maximum searches and clicks that are recorded of a client in a day.
        cache_dir: local folder for private copies of the release's files, which are mapped into memory. It
            needs space for two releases, on a disk. By default, the system's folder of temporary files.
        vector_cache_bytes: maximum memory for cached parts of the Lance tables of each open release that
            are read in the lake.
        vector_disk_bytes: maximum size of the Lance tables of each open release that are copied to
            ``cache_dir``. A search reads the other tables in the lake.
        log_level: debug, info (one line per request), warning or error.
    """

    model_config = SettingsConfigDict(env_prefix="FB_", frozen=True)

    lake: str = "data"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=Limits().max_bytes, ge=1)
    # Pillow rejects more as a decompression bomb.
    max_pixels: int = Field(default=Limits().max_pixels, ge=1, le=178_956_970)
    encoder_threads: int = Field(default=1, ge=1)
    encoder_workers: int | None = Field(default=None, ge=1)
    max_batch: int = Field(default=2, ge=1, le=256)
    batch_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    max_in_flight: int = Field(default=32, ge=1)
    client_share: float = Field(default=0.75, gt=0, le=1)
    request_timeout_seconds: float = Field(default=10.0, gt=0)
    max_connections: int = Field(default=1000, ge=1)
    max_header_bytes: int = Field(default=65_536, ge=1024)
    header_timeout_seconds: float = Field(default=10.0, gt=0)
    keep_alive_seconds: int = Field(default=5, ge=0)
    min_upload_rate: int = Field(default=1024, ge=0)
    shutdown_grace_seconds: int = Field(default=10, ge=0)
    release_poll_seconds: float = Field(default=5.0, ge=0)
    api_keys: SecretStr = SecretStr("")
    monitoring_key: SecretStr = SecretStr("")
    rate_limit: str | None = None
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    public_url: str = ""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    feedback_dir: Path | None = None
    feedback_key: SecretStr = SecretStr("")
    feedback_max_bytes_per_day: int = Field(default=FeedbackLimits().max_bytes, ge=0)
    feedback_max_events_per_client: int = Field(
        default=FeedbackLimits().max_events_per_client, ge=0
    )
    cache_dir: Path | None = None
    vector_cache_bytes: int = Field(default=CACHE_BYTES, ge=1024 * 1024)
    vector_disk_bytes: int = Field(default=DISK_BYTES, ge=0)
    log_level: LogLevel = "info"

    @model_validator(mode="before")
    @classmethod
    def _reject_renamed_variables(cls, values: Any) -> Any:
        for name in os.environ:
            if name.upper() in _RENAMED:
                raise ValueError(f"{name} is now {_RENAMED[name.upper()]}")
        return values

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: SecretStr) -> SecretStr:
        # The message is printed: it must not contain a key.
        names = set[str]()
        for number, entry in enumerate(_split(keys.get_secret_value()), start=1):
            name, colon, key = entry.partition(":")
            if not (colon and name and len(key) >= MIN_KEY_LENGTH):
                raise ValueError(
                    f"entry {number} is not name:key with a key of at least {MIN_KEY_LENGTH} characters"
                )
            if name in names:
                raise ValueError(
                    f"entry {number} repeats the name of another key; expected unique names"
                )
            names.add(name)
        return keys

    @field_validator("feedback_key", "monitoring_key")
    @classmethod
    def _check_secret(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < MIN_KEY_LENGTH:
            raise ValueError(f"expected at least {MIN_KEY_LENGTH} characters")
        return key

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.netloc
            or parts.query
            or parts.fragment
        ):
            raise ValueError("expected an address such as https://market.example/")
        return f"{url.rstrip('/')}/"

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, rate: str | None) -> str | None:
        from limits import parse

        if rate:
            try:
                parse(rate)
            except ValueError:
                raise ValueError("expected a number per time, such as 600/minute") from None
        return rate or None

    @field_validator("feedback_dir", "cache_dir", mode="before")
    @classmethod
    def _check_folder(cls, folder: object) -> object:
        if not folder:
            return None
        if "://" in str(folder):
            raise ValueError("expected a local folder")
        return check_writable(Path(str(folder)))

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(_split(value)) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(
                    f"{error}; expected addresses or networks such as 10.0.0.0/8"
                ) from None
        return proxies

    @property
    def limits(self) -> Limits:
        """Limits on uploads, checked before decoding."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)

    @property
    def num_encoder_workers(self) -> int:
        """Number of batches encoded in parallel."""
        return self.encoder_workers or max(1, cores() // self.encoder_threads)

    @property
    def keys(self) -> dict[str, str]:
        """API keys by name."""
        entries = (entry.partition(":") for entry in _split(self.api_keys.get_secret_value()))
        return {name: key for name, _, key in entries}


def cores() -> int:
    """Return the number of cores that this process may use, with the CPU quota of its container."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not available on every system
        count = os.cpu_count() or 1
    try:
        quota, period = map(int, _CPU_QUOTA.read_text().split())
    except (OSError, ValueError):  # no control group, or the quota "max"
        return count
    return min(count, max(1, math.ceil(quota / period)))


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
