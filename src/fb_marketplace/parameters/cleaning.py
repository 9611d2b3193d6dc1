"""Parameters of the cleaning pipeline.

``conf/base/parameters_cleaning.yml`` sets the values and explains them. The models check types and ranges.
"""

import html
import time
from collections.abc import Iterable
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, field_validator, model_validator

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.base import Count, NotNegative, Parameters, Positive, Share


class PriceParameters(Parameters):
    """Format of prices, and thresholds of price flags."""

    symbols: tuple[str, ...]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217")]
    thousands: str
    decimal: Annotated[str, Field(min_length=1, max_length=1)]
    words: dict[str, NotNegative | None] = Field(default_factory=dict)
    joke_amounts: tuple[int, ...]
    joke_repeated_digits: Annotated[int, Field(ge=2)]
    joke_below: NotNegative
    absurd_above: Positive

    @field_validator("words")
    @classmethod
    def _fold_words(cls, words: dict[str, float | None]) -> dict[str, float | None]:
        return {word.casefold(): amount for word, amount in words.items()}


class TableParameters(Parameters):
    """Column names of a raw table. Other columns keep their names."""

    renamed: ClassVar = {
        "required": "required_columns",
        "ignored": "ignored_columns",
    }
    mandatory: ClassVar[frozenset[str]] = frozenset()
    """Fields that ``columns`` must map to a column."""

    columns: dict[str, str]
    required_columns: tuple[str, ...]
    ignored_columns: tuple[str, ...] = ()
    date_formats: Annotated[
        tuple[str, ...],
        Field(description="formats of time.strptime for created_at, tried in this order"),
    ] = ()

    @field_validator("date_formats")
    @classmethod
    def _check_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        day = time.gmtime(1_044_316_800)  # 2003-02-04
        for name in formats:
            try:
                is_complete = time.strptime(time.strftime(name, day), name)[:3] == day[:3]
            except ValueError:
                is_complete = False
            if not is_complete:
                raise ValueError(
                    f"{name!r} is not a date format; expected one with day, month and year, such as "
                    "'%d/%m/%Y %H:%M'"
                )
        return formats

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        unmapped = self.mandatory - set(self.columns)
        if unmapped:
            raise ValueError(f"columns must also map {sorted(unmapped)}")
        unknown = set(self.required_columns) - set(self.columns)
        if unknown:
            raise ValueError(
                f"required_columns has {sorted(unknown)}; expected some of {list(self.columns)}"
            )
        return self


class ProductTableParameters(TableParameters):
    """Columns of the table of listings."""

    mandatory: ClassVar = frozenset(
        ("product_id", "title", "category_path", "description", "price", "location")
    )


class ImageTableParameters(TableParameters):
    """Columns of the table of images."""

    mandatory: ClassVar = frozenset(("image_id", "product_id"))


_SEPARATORS: Final = (
    " > ",
    " / ",
    " | ",
    " - ",
    " » ",
    " → ",
    "::",
    ">",
    "/",
    "|",
    "»",
    "→",
    ";",
    "\\",
    ":",
)
"""Usual separators of category paths. One with spaces precedes the same one without."""

_MIN_SEPARATED: Final = 0.9

_MIN_PATHS: Final = 3
"""Different paths that are needed to tell a separator without spaces from a sign in a name."""


def check_category_separator(paths: Iterable[object], separator: str) -> None:
    """Check that category paths have the configured separator, or none.

    Args:
        paths: category paths of listings.
        separator: the configured separator.

    Raises:
        UserError: no path has it, and almost all have another.
    """
    texts = [text for path in paths if (text := html.unescape(str(path)).strip())]
    if not texts or any(separator.strip() in text for text in texts):
        return
    for other in _SEPARATORS:
        separated = [text for text in texts if other in text]
        count = len(separated)
        is_clear = len(other) > 1 or len(set(separated)) >= _MIN_PATHS
        if count >= _MIN_SEPARATED * len(texts) and is_clear:
            raise UserError(
                f"no category has the separator {separator!r}, but {count:,} of {len(texts):,} have "
                f"{other!r}, such as {texts[0][:60]!r}. Set cleaning.category.separator in "
                "parameters_cleaning.yml."
            )


class CategoryParameters(Parameters):
    """Format of category paths."""

    separator: Annotated[str, Field(min_length=1)]
    usual_depth: tuple[Count, Count]


class TextParameters(Parameters):
    """Format of titles and locations."""

    renamed: ClassVar = {"title_tail": "title_suffix_pattern"}

    title_suffix_pattern: str
    location_separator: Annotated[str, Field(min_length=1)]


class PhotoParameters(Parameters):
    """Photo folder, limits of photo files, and batch sizes."""

    folder: str
    suffix: str
    max_bytes: Count
    max_pixels: Count
    photos_per_batch: Count
    processes: Annotated[int, Field(ge=0, description="0: one per core; 1: no cluster")]


class DisplayParameters(Parameters):
    """Display renditions: the form of the photos that people look at."""

    side: Annotated[int, Field(ge=0, le=1024, description="maximum; 0: no renditions")] = 1024
    max_bytes: Annotated[int, Field(ge=16 * 1024)] = 200 * 1024


class DuplicateParameters(Parameters):
    """Thresholds of duplicate photos. ``benchmarks/duplicates.py`` measures the defaults."""

    max_distance: Annotated[int, Field(ge=0, le=20)] = 16
    """Maximum Hamming distance of the most similar 64-bit hashes of a candidate pair."""

    max_mean_distance: Annotated[float, Field(ge=0, le=32)] = 16
    """Maximum mean distance of the three most similar windows. Unrelated photos rarely agree in three."""

    max_candidates: Annotated[int, Field(ge=1)] = 5
    """Number of most similar candidates of a photo. Limits the work if many photos look alike."""

    min_convergence: Share = 0.6
    """Minimum correlation of the aligned outlines, at every resolution. A pair below it is dropped."""

    min_agreement: Share = 0.85
    """Minimum score of near-duplicates: low quantile of block correlations, without ``watermark_share``."""

    watermark_share: Annotated[float, Field(ge=0, le=0.5)] = 0.12
    """Share of blocks that may disagree. A watermark on 8 % of the area touches about this many."""

    min_textured_blocks: Annotated[int, Field(ge=1)] = 12
    """Minimum number of textured blocks (8 × 8 pixels, about 190 in all) for a verdict."""

    max_shear: NotNegative = 0.015
    """Maximum shear or rotation of the alignment, in radians. A pair above it is two different shots."""

    max_stretch: NotNegative = 0.035
    """Maximum relative difference of horizontal and vertical scale. Allows for rounding to pixels."""

    min_overlap: Share = 0.5
    """Minimum share of one picture that the other covers. A crop of a tenth on all sides covers 0.64."""


class SplitParameters(Parameters):
    """Share of the groups in each split."""

    renamed: ClassVar = {"shared_description_words": "min_words_for_duplicate_description"}

    salt: str
    train: Share
    validation: Share
    min_words_for_duplicate_description: Annotated[
        int, Field(ge=1, description="shorter descriptions never join two listings")
    ]
    max_listings_per_photo: Annotated[
        int, Field(ge=1, description="a photo or description of more listings joins none of them")
    ] = 20

    @model_validator(mode="after")
    def _check_test_share(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError("train + validation must be below 1: the rest is the test split")
        return self


class CleaningParameters(Parameters):
    """Parameters of the raw tables, their fields, and the photos."""

    renamed: ClassVar = {"missing": "missing_values"}

    max_rejected_share: Annotated[
        Share, Field(description="of each table and of the photos; a run that rejects more stops")
    ] = 0.2
    missing_values: tuple[str, ...]
    products: ProductTableParameters
    images: ImageTableParameters
    price: PriceParameters
    category: CategoryParameters
    text: TextParameters
    photos: PhotoParameters
    display: DisplayParameters = DisplayParameters()
