"""Parameters of the release pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Parameters, Share

HUB_PREFIX: Final = "hf-hub:"
"""Prefix of the name of a dual encoder in the Hugging Face Hub, as in open_clip."""


class ReleaseParameters(Parameters):
    """Canaries of a release, and the requirements of the gate."""

    renamed: ClassVar[Mapping[str, str]] = {"compare": "compare_with_current"}

    canaries: Annotated[int, Field(ge=1, le=32)]
    floors: dict[str, Share]
    compare_with_current: bool
    bootstrap_samples: Annotated[int, Field(ge=100)]
    confidence: Annotated[
        float, Field(gt=0.5, lt=1, description="that an equally good release is accepted")
    ]
    seed: Annotated[int, Field(ge=0)]


class SearchParameters(Parameters):
    """The engine that servers search the vectors of a release with, and the encoder of words and photos."""

    engine: Annotated[
        Literal["faiss", "lance"],
        Field(
            description="faiss: files that servers copy; lance: tables that they read from the lake"
        ),
    ]
    min_indexed_vectors: Annotated[
        int,
        Field(ge=256, description="smaller Lance tables have no index: all vectors are compared"),
    ]
    dual_encoder: Annotated[
        str | None,
        Field(
            min_length=1,
            description="open_clip model: hf-hub:<repository>, or a folder; None: a trained projection",
        ),
    ] = None
    dual_encoder_sha256: Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{64}$")] = None
    dual_encoder_license: Annotated[
        str | None, Field(min_length=1, description="SPDX identifier")
    ] = None

    @model_validator(mode="after")
    def _describe_dual_encoder(self) -> Self:
        if self.dual_encoder is None:
            return self
        if self.dual_encoder_license is None:
            raise ValueError(
                "dual_encoder_license is missing; expected the licence of the weights, such as apache-2.0, "
                "for the manifest; their publisher states it"
            )
        if self.dual_encoder_sha256 is None and not self.dual_encoder.startswith(HUB_PREFIX):
            raise ValueError(
                "dual_encoder_sha256 is missing; expected the digest of the file of weights in "
                f"{self.dual_encoder}; `sha256sum` prints it"
            )
        return self
