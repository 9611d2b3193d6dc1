"""Digests: of content, and of what a piece of work depends on."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

if TYPE_CHECKING:
    import pandas as pd

    from fb_marketplace.storage.keyed_table import Table

DIGEST_BATCH_SIZE: Final = 4096


def sha256(data: bytes) -> str:
    """Give the SHA-256 of bytes, as hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def make_key(*parts: object) -> str:
    """Give a key for a row that depends on these parts, in this order."""
    return sha256(json.dumps([str(part) for part in parts], ensure_ascii=False).encode())


def stage_digest(
    name: str, revision: int, parameters: BaseModel | None = None, libraries: Sequence[str] = ()
) -> str:
    """Give what a stage's rows depend on besides their source.

    Args:
        name: the stage.
        revision: the stage's own version number, raised when its code gives other rows.
        parameters: what it was told.
        libraries: distributions whose version changes the result.
    """
    told = parameters.model_dump(mode="json") if parameters else {}
    versions = {library: version(library) for library in libraries}
    return make_key(name, revision, json.dumps(told, sort_keys=True), json.dumps(versions))[:16]


def content_digest(table: "pd.DataFrame", by: str | Sequence[str]) -> str:
    """Give a digest of a table's content: rows sorted by id, columns by name, without times or versions."""
    columns = sorted(table.columns)
    ordered = table.sort_values(by if isinstance(by, str) else list(by), kind="stable")[columns]
    digest = hashlib.sha256(json.dumps(columns).encode())
    for row in ordered.itertuples(index=False, name=None):
        digest.update(json.dumps([_plain(value) for value in row], ensure_ascii=False).encode())
    return digest.hexdigest()


def table_digest(table: "Table", by: str, texts: Sequence[str], vectors: Sequence[str]) -> str:
    """Give a digest of a Lance table's content: rows sorted by id, without the order of writing.

    It is read in batches, and float32 vectors are taken as their bytes: as JSON, a million of them would
    take an hour.

    Args:
        table: what is digested.
        by: the column of the ids.
        texts: columns of text.
        vectors: columns of vectors, each of one length.
    """
    digest = hashlib.sha256(json.dumps([*texts, *vectors]).encode())
    order = table.order(by).tolist()
    for start in range(0, len(order), DIGEST_BATCH_SIZE):
        rows = order[start : start + DIGEST_BATCH_SIZE]
        found = [table.vectors(rows, column).astype("<f4") for column in vectors]
        for place, row in enumerate(table.take(rows, texts).to_pylist()):
            told = [row[column] for column in texts] + [each.shape[1] for each in found]
            digest.update(json.dumps(told, ensure_ascii=False).encode())
            for each in found:
                digest.update(each[place].tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Write a cell the same whatever library held it: missing is null, numbers are numbers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or value != value:  # noqa: PLR0124  (NaN and NaT are what differs from itself)
        return None
    if isinstance(value, bytes):
        return sha256(value)
    return value if isinstance(value, bool | int | float | str) else str(value)
