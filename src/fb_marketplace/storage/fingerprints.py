"""Digests of content, and of the inputs of a computation."""

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
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def make_key(*parts: object) -> str:
    """Return the key of a row that depends on these parts; their order matters."""
    return sha256(json.dumps([str(part) for part in parts], ensure_ascii=False).encode())


def stage_digest(
    name: str, revision: int, parameters: BaseModel | None = None, libraries: Sequence[str] = ()
) -> str:
    """Return a digest of everything that a stage's rows depend on, except their source data.

    Args:
        name: name of the stage.
        revision: version number of the stage's code; increase it when the code computes different rows.
        parameters: parameters of the stage.
        libraries: distributions whose versions can change the result.
    """
    values = parameters.model_dump(mode="json") if parameters else {}
    versions = {library: version(library) for library in libraries}
    return make_key(name, revision, json.dumps(values, sort_keys=True), json.dumps(versions))[:16]


def content_digest(table: "pd.DataFrame", by: str | Sequence[str]) -> str:
    """Return a digest of a table that does not depend on the order of rows and columns.

    Args:
        table: the table.
        by: the id column or columns, which determine the order of rows.
    """
    columns = sorted(table.columns)
    ordered = table.sort_values(by if isinstance(by, str) else list(by), kind="stable")[columns]
    digest = hashlib.sha256(json.dumps(columns).encode())
    for row in ordered.itertuples(index=False, name=None):
        digest.update(json.dumps([_to_json(value) for value in row], ensure_ascii=False).encode())
    return digest.hexdigest()


def table_digest(table: "Table", by: str, texts: Sequence[str], vectors: Sequence[str]) -> str:
    """Return a digest of a Lance table that does not depend on the order of rows.

    Rows are read in batches. Float32 vectors are digested as bytes: as JSON, a million vectors would take
    an hour.

    Args:
        table: the table.
        by: the column of ids.
        texts: columns of text.
        vectors: columns of vectors; all vectors of a column have the same dimension.
    """
    digest = hashlib.sha256(json.dumps([*texts, *vectors]).encode())
    order = table.order(by).tolist()
    for start in range(0, len(order), DIGEST_BATCH_SIZE):
        rows = order[start : start + DIGEST_BATCH_SIZE]
        matrices = [table.vectors(rows, column).astype("<f4") for column in vectors]
        for index, row in enumerate(table.take(rows, texts).to_pylist()):
            values = [row[column] for column in texts] + [matrix.shape[1] for matrix in matrices]
            digest.update(json.dumps(values, ensure_ascii=False).encode())
            for matrix in matrices:
                digest.update(matrix[index].tobytes())
    return digest.hexdigest()


def _to_json(value: Any) -> Any:
    """Return a cell as a JSON value that does not depend on the library; missing values become null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    # NaN and NaT differ from themselves, and for pandas' NA this is unknown.
    if value is None or (value == value) is not True:  # noqa: PLR0124
        return None
    if isinstance(value, bytes):
        return sha256(value)
    return value if isinstance(value, bool | int | float | str) else str(value)
