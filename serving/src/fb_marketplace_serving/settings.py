"""What the server can be told, by environment variables that begin with ``FB_``."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fb_marketplace_serving.photos import Limits


class Settings(BaseSettings):
    """Settings of the server; ``FB_LAKE``, ``FB_PORT`` and so on.

    Attributes:
        lake: root of the lake that has the release: a path or any fsspec URL.
        host: address to listen on; the default is reached from this machine only.
        port: port to listen on; 0 takes any that is free.
        max_upload_bytes: size above which an upload is refused.
        max_pixels: pixels above which a photo is refused without decoding it.
        encoder_threads: threads that the encoder may use for a photo; without it, one a core.
    """

    model_config = SettingsConfigDict(env_prefix="FB_", frozen=True)

    lake: str = "data"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    max_upload_bytes: int = Field(default=Limits().max_bytes, ge=1)
    # Pillow itself refuses more, as a decompression bomb.
    max_pixels: int = Field(default=Limits().max_pixels, ge=1, le=178_956_970)
    encoder_threads: int | None = Field(default=None, ge=1)

    @property
    def limits(self) -> Limits:
        """What is refused before anything is decoded."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)
