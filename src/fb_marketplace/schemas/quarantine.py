"""Schema of the quarantine."""

import pandera.pandas as pa

from fb_marketplace.schemas.reasons import Reason, Stage


class Quarantine(pa.DataFrameModel):
    """Rejected rows and files. For a file, ``row`` is -1."""

    stage: str = pa.Field(isin=[stage.value for stage in Stage])
    row: int = pa.Field(ge=-1)
    key: str
    reason: str = pa.Field(isin=[reason.value for reason in Reason])
    detail: str

    class Config:
        """A row or file is rejected at most once per stage."""

        unique = ("stage", "row", "key")
        strict = True
