"""Parameters of ``vision`` and ``vision_evaluation``; see ``conf/base/parameters_vision.yml``."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import (
    Count,
    NotNegative,
    Parameters,
    Positive,
    RetrainedParameters,
    Seed,
    Share,
)

Dropout = Annotated[float, Field(ge=0, lt=1)]


class HeadParameters(Parameters):
    """The linear probe: a head trained on cached features of the frozen backbone."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NotNegative


class AugmentationParameters(Parameters):
    """Augmentation of training photos."""

    renamed: ClassVar[Mapping[str, str]] = {
        "side": "crop_size",
        "smallest_crop": "min_scale",
        "stretched": "max_aspect_ratio",
        "mirrored": "hflip_prob",
        "light": "color_jitter",
    }

    crop_size: Annotated[int, Field(ge=32, le=512, description="side of a crop, in pixels")]
    min_scale: Annotated[float, Field(gt=0, le=1, description="share of the content's area")]
    max_aspect_ratio: Annotated[float, Field(ge=1, description="of a crop, and its inverse")]
    hflip_prob: Share
    color_jitter: Annotated[
        float, Field(ge=0, lt=1, description="brightness, contrast and saturation: 1 ± this")
    ]


class FineTuningParameters(Parameters):
    """Training of the last blocks of the backbone together with the head."""

    renamed: ClassVar[Mapping[str, str]] = {
        "averaging": "ema_decay",
        "warm_up": "warmup_fraction",
        "blends": "wise_ft_alphas",
        "blocks": "trainable_blocks",
    }

    trainable_blocks: Annotated[int, Field(ge=-1, description="the last so many; -1: all")]
    epochs: Annotated[int, Field(ge=0, description="0: the head only")]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    head_learning_rate: Positive
    layer_decay: Annotated[
        float, Field(gt=0, le=1, description="of the learning rate, per block before the last")
    ] = 1.0
    weight_decay: NotNegative
    dropout: Dropout
    warmup_fraction: Share
    max_gradient_norm: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Count
    wise_ft_alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    mixup: NotNegative
    augmentation: AugmentationParameters
    precision: Literal["auto", "fp32", "bf16"]
    workers: Annotated[int, Field(ge=0)]


class EncoderParameters(Parameters):
    """Precision of the served encoder, and the accepted loss of int8."""

    renamed: ClassVar[Mapping[str, str]] = {
        "served": "precision",
        "max_accuracy_lost": "max_accuracy_drop",
    }

    precision: Literal["auto", "fp32", "int8"]
    calibration_photos: Count
    max_accuracy_drop: Share
    min_cosine: Share


class ExternalEncoderParameters(Parameters):
    """A frozen encoder of the user's own, whose vectors join the embedding."""

    onnx: Annotated[str, Field(min_length=1, description="path or URL of the graph")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    license: Annotated[str, Field(min_length=1, description="SPDX identifier")]
    input_side: Annotated[int, Field(ge=32, le=1024)]
    mean: Annotated[
        tuple[float, float, float], Field(description="of its channels, of pixels in [0, 1]")
    ]
    std: Annotated[tuple[Positive, Positive, Positive], Field(description="in the same order")]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    output: Annotated[str, Field(min_length=1, description="name of the output, [n, width]")]

    @model_validator(mode="before")
    @classmethod
    def _say_how_to_describe_it(cls, values: Any) -> Any:
        hints = {
            "sha256": "the digest of the file; `sha256sum` prints it",
            "license": "the licence of the encoder, such as apache-2.0, for the model card and the "
            "manifest; its publisher states it",
        }
        for name, hint in hints.items():
            if isinstance(values, Mapping) and values.get(name) is None:
                raise ValueError(f"{name} is missing; expected {hint}")
        return values


class EmbeddingHeadParameters(Parameters):
    """The served embedding, and the training of its head."""

    renamed: ClassVar[Mapping[str, str]] = {
        "levels": "num_blocks",
        "power": "gem_p",
        "hard_batches": "hard_batch_fraction",
        "path_weight": "path_loss_weight",
    }

    layer: Annotated[str, Field(min_length=1, description="metric, pool, fc.1, or a block")]
    num_blocks: Annotated[int, Field(ge=1, description="the last so many blocks, pooled")]
    gem_p: Annotated[float, Field(ge=1, description="exponent of the generalized mean")]
    second_backbone: Annotated[
        str | None,
        Field(
            min_length=1, description="pretrained, not trained further; its blocks join the input"
        ),
    ]
    second_input_side: Annotated[int, Field(ge=32, le=1024, description="of the second backbone")]
    late_blocks: Annotated[
        int, Field(ge=0, description="the last so many have a head of their own")
    ]
    late_weight: Annotated[Share, Field(description="of the similarities of the late blocks")]
    dimension: Annotated[int, Field(ge=2)]
    loss: Literal["contrastive", "multi_similarity", "triplet"]
    temperature: Positive
    path_loss_weight: Annotated[float, Field(ge=0, description="of the loss on category paths")]
    hard_batch_fraction: Annotated[Share, Field(description="batches of similar categories")]
    max_photos: Annotated[
        int,
        Field(ge=4, description="of training and validation; groups are sampled if there are more"),
    ]
    epochs: Annotated[int, Field(ge=0)]
    listings_per_batch: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    dropout: Dropout


FEATURE_PARAMETERS: Final = frozenset(
    {"num_blocks", "gem_p", "second_backbone", "second_input_side"}
)
"""Parameters of ``vision.embedding`` that its input, the block features, depends on."""


MaxError = Annotated[float, Field(gt=0, lt=1, description="share of the answered cases")]


class AbstentionErrors(Parameters):
    """Maximum error rate among answered cases."""

    photos: MaxError
    products_with_text: MaxError


class DriftParameters(Parameters):
    """Limits of the drift since the training of the network. Beyond one of them, a retraining is due."""

    max_changed_share: Annotated[Positive, Field(description="of the listings, new or gone")] = 0.2
    max_psi: Annotated[Positive, Field(description="of the label mix, or of the embeddings")] = 0.2
    max_accuracy_drop: Annotated[
        Share, Field(description="on new listings, if it is also outside their interval")
    ] = 0.05


class EvaluationParameters(Parameters):
    """Evaluation of category predictions, and abstention."""

    renamed: ClassVar[Mapping[str, str]] = {
        "abstain_error": "max_error_when_answering",
        "worst_mistakes": "num_worst_errors",
    }

    calibration_bins: Count
    max_error_when_answering: AbstentionErrors
    num_worst_errors: Count
    drift: DriftParameters = DriftParameters()
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed

    @property
    def bootstrap(self) -> tuple[int, float, int]:
        """Samples, confidence and seed, in the order that :mod:`evaluation.bootstrap` expects."""
        return self.bootstrap_samples, self.confidence, self.seed


NOT_IN_TRAINING: Final = frozenset({"embedding", "encoder", "external_encoder"})
"""Parameters of ``vision`` that the training of the network does not depend on."""


class VisionParameters(RetrainedParameters):
    """The backbone, its training, the embedding and the served encoder."""

    renamed: ClassVar[Mapping[str, str]] = {
        "class_balance": "class_weight_power",
        "path_weight": "path_loss_weight",
        "path_photos": "min_photos_per_path",
    }

    backbone: str
    weights: str
    weights_sha256: str | None = None
    weights_license: Annotated[
        str | None,
        # Not in digests: a corrected licence trains nothing again. The node that reports it reads it alone.
        Field(min_length=1, exclude=True, description="SPDX identifier; None: the publisher's"),
    ] = None
    input_side: Annotated[int | None, Field(ge=32, le=1024, description="None: the backbone's own")]
    label_smoothing: Share
    class_weight_power: Share
    path_loss_weight: Annotated[
        float, Field(ge=0, description="of the loss on category paths; 0: paths are not learned")
    ]
    min_photos_per_path: Annotated[Count, Field(description="training photos of a learned path")]
    min_listings_per_category: Annotated[
        Count, Field(description="a root category with fewer is not a class of the classifiers")
    ] = 10
    head: HeadParameters
    fine_tuning: FineTuningParameters
    embedding: EmbeddingHeadParameters
    encoder: EncoderParameters
    external_encoder: ExternalEncoderParameters | None = None
    seed: Seed

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.weights == "usual":
            raise ValueError("weights: `usual` is now `default`")
        if self.embedding.layer == "metric" and not self.embedding.epochs:
            raise ValueError(
                "embedding.layer is metric, but its head is trained for 0 epochs. Set embedding.epochs to "
                "1 or more, or embedding.layer to pool."
            )
        side = self.fine_tuning.augmentation.crop_size
        if self.input_side is not None and side > self.input_side:
            raise ValueError(
                f"fine_tuning.augmentation.crop_size is {side}; expected at most input_side, "
                f"{self.input_side}"
            )
        return self
