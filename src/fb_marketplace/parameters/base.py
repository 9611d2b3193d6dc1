"""Base class of all parameter models, and value types that they share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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


class WhenGrown(Parameters):
    """Train again once this share of the training data is new or gone."""

    when_grown: Positive


def _check_retrain(value: Any) -> Any:
    is_share = isinstance(value, WhenGrown | Mapping)
    if not is_share and value not in ("always", "on_recipe_change"):
        raise ValueError(
            f"retrain is {value!r}; expected always, on_recipe_change, or {{when_grown: <share>}}"
        )
    return value


RetrainRule = Annotated[
    Literal["always", "on_recipe_change"] | WhenGrown, BeforeValidator(_check_retrain)
]


class RetrainedParameters(Parameters):
    """Parameters of a model, with the rule that says when changed data trains it again.

    The rule is not part of the recipe: it is excluded from digests and cards.
    """

    retrain: Annotated[RetrainRule, Field(exclude=True)] = "on_recipe_change"
