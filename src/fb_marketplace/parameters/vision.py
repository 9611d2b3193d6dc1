"""Typed parameters of ``vision`` and ``vision_evaluation``; see ``conf/base/parameters_vision.yml``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Share


class HeadParameters(Parameters):
    """The head alone, on cached features of the frozen backbone."""

    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]


class AugmentationParameters(Parameters):
    """How far photos are changed in training."""

    side: Annotated[int, Field(ge=32, le=512, description="of what is trained on, in pixels")]
    smallest_crop: Annotated[float, Field(gt=0, le=1, description="share of the content's area")]
    stretched: Annotated[float, Field(ge=1, description="ratio of a crop's sides, either way")]
    mirrored: Share
    light: Annotated[float, Field(ge=0, lt=1, description="brightness, contrast, colour: 1 ± this")]


class FineTuningParameters(Parameters):
    """The last blocks of the backbone, trained with the head."""

    blocks: Annotated[int, Field(ge=-1, description="-1: all")]
    epochs: Annotated[int, Field(ge=0, description="0: the head alone")]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    head_learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    warm_up: Share
    max_gradient_norm: Annotated[float, Field(gt=0)]
    averaging: Annotated[float, Field(ge=0, lt=1)]
    patience: Count
    blends: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    mixup: Annotated[float, Field(ge=0)]
    augmentation: AugmentationParameters
    precision: Literal["auto", "fp32", "bf16"]
    workers: Annotated[int, Field(ge=0)]


class EncoderParameters(Parameters):
    """Which encoder is served, and what int8 may cost."""

    served: Literal["auto", "fp32", "int8"]
    calibration_photos: Count
    max_accuracy_lost: Share
    min_cosine: Share


class EmbeddingHeadParameters(Parameters):
    """The vector that similar photos are searched by, and how its head is trained."""

    layer: Annotated[str, Field(min_length=1, description="metric, pool, fc.1, or a block")]
    levels: Annotated[int, Field(ge=1, description="the last so many blocks, pooled")]
    power: Annotated[float, Field(ge=1, description="of the generalised mean")]
    dimension: Annotated[int, Field(ge=2)]
    loss: Literal["contrastive", "multi_similarity", "triplet"]
    temperature: Annotated[float, Field(gt=0)]
    path_weight: Annotated[float, Field(ge=0, description="of the loss on category paths")]
    hard_batches: Annotated[Share, Field(description="of batches, from one corner of the tree")]
    epochs: Annotated[int, Field(ge=0)]
    listings_per_batch: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


AnsweredErrorShare = Annotated[float, Field(gt=0, lt=1, description="share of the answered")]


class AbstentionErrors(Parameters):
    """How often an answer may be wrong, where one is given."""

    photos: AnsweredErrorShare
    products_with_text: AnsweredErrorShare


class EvaluationParameters(Parameters):
    """How answers are measured, and when "not sure" is the better one."""

    calibration_bins: Count
    abstain_error: AbstentionErrors
    worst_mistakes: Count
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    @property
    def bootstrap(self) -> tuple[int, float, int]:
        """Samples, confidence and seed, as the functions of :mod:`evaluation.bootstrap` take them."""
        return self.bootstrap_samples, self.confidence, self.seed


class VisionParameters(Parameters):
    """The backbone, its head, how both are trained, and what is made of them."""

    backbone: str
    weights: str
    weights_sha256: str | None = None
    input_side: Annotated[int, Field(ge=32, le=512)]
    label_smoothing: Share
    class_balance: Share
    path_weight: Annotated[
        float, Field(ge=0, description="of the loss on category paths; 0: not told apart")
    ]
    path_photos: Annotated[Count, Field(description="in training, of a path that is told apart")]
    head: HeadParameters
    fine_tuning: FineTuningParameters
    embedding: EmbeddingHeadParameters
    encoder: EncoderParameters
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.embedding.layer == "metric" and not self.embedding.epochs:
            raise ValueError(
                "embedding.layer is metric, whose head is not trained in 0 epochs: take 1 or more, or pool"
            )
        side = self.fine_tuning.augmentation.side
        if side > self.input_side:
            raise ValueError(
                f"fine_tuning.augmentation.side is {side}; expected at most input_side, {self.input_side}"
            )
        return self
