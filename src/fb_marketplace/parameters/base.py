"""Base class of all parameter models, and value types that they share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]


class Parameters(BaseModel):
    """Frozen parameters. Unknown keys are rejected; for a renamed key, the error gives the new name.

    Attributes:
        renamed: new key by old key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_renamed_keys(cls, values: Any) -> Any:
        """Raise an error if an old key is used: the user may rely on its value, so do not ignore it."""
        old = sorted(cls.renamed.keys() & values.keys()) if isinstance(values, Mapping) else []
        if old:
            raise ValueError("; ".join(f"`{key}` is now `{cls.renamed[key]}`" for key in old))
        return values
