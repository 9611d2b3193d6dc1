"""Schema of the quarantine."""

import pandera.pandas as pa

from fb_marketplace.schemas.reasons import REASONS, STAGES


class Quarantine(pa.DataFrameModel):
    """Rows and files that were turned away, each once."""

    stage: str = pa.Field(isin=STAGES)
    row: int = pa.Field(ge=-1)
    key: str
    reason: str = pa.Field(isin=REASONS)
    detail: str

    class Config:
        """A row or a file is turned away once."""

        unique = ("stage", "row", "key")
        strict = True
