"""Schema of the quarantine."""

import pandera.pandas as pa

from fb_marketplace.schemas.reasons import Reason, Stage


class Quarantine(pa.DataFrameModel):
    """Rejected rows and files; a file has row -1."""

    stage: str = pa.Field(isin=[stage.value for stage in Stage])
    row: int = pa.Field(ge=-1)
    key: str
    reason: str = pa.Field(isin=[reason.value for reason in Reason])
    detail: str

    class Config:
        """A row or a file is rejected once."""

        unique = ("stage", "row", "key")
        strict = True
