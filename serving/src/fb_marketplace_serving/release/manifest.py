"""What a release is made of: its manifest, ``releases/<version>.json``, written once."""

import base64
import json
import re
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from fb_marketplace_serving.storage.lake import Lake

SCHEMA_VERSION: Final = 4
"""Since 4 artifacts are named like the catalog entries that they come from."""

PhotoArtifact = Literal[
    "encoder",
    "image_index",
    "image_index_ids",
    "listings",
    "release_photos",
    "release_measures",
]
SearchArtifact = Literal[
    "listing_features",
    "gazetteer",
    "word_index",
    "text_encoder",
    "text_tokenizer",
    "text_index",
    "text_index_ids",
    "text_to_image_index",
    "text_to_image_index_ids",
    "ranker",
    "price_insights",
    "provenance",
]
ArtifactName = PhotoArtifact | SearchArtifact
ARTIFACTS: Final[tuple[PhotoArtifact, ...]] = get_args(PhotoArtifact)
"""What every release holds."""
SEARCH_ARTIFACTS: Final[tuple[SearchArtifact, ...]] = get_args(SearchArtifact)
"""What a search by words, and its explanation, need: a release holds all of these, or none."""

_VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""A version names a file and stands in a header of every response."""


class ReleaseError(ValueError):
    """A release that is not to be trusted, in one line: the file, what was found, what to do."""


def _inside_the_lake(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "://" in path:
        raise ValueError("a path relative to the lake's root, inside it")
    return path


class _Sealed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(_Sealed):
    """A file of a release.

    Attributes:
        path: where it is, from the lake's root.
        bytes: its size.
        sha256: its digest, in hex.
    """

    path: Annotated[str, AfterValidator(_inside_the_lake)]
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def difference(self, size: int, sha256: str) -> str | None:
        """Say how a file of this size and digest is not what was sealed, if it is not."""
        if size != self.bytes:
            return f"found {size:,} bytes; expected {self.bytes:,}"
        if sha256 != self.sha256:
            return f"found sha256 {sha256[:12]}…; expected {self.sha256[:12]}…"
        return None


class Canary(_Sealed):
    """A photo and what the pipeline made of it: whoever opens the release must agree.

    Attributes:
        image_id: the photo.
        photo: its canonical JPEG, in base64.
        probabilities: of each class, in the order of the labels.
        embedding: its embedding.
        neighbours: ids of the photos nearest to it in the index, nearest first.
    """

    image_id: str
    photo: str
    probabilities: list[float]
    embedding: list[float]
    neighbours: list[str] = Field(min_length=1)

    @field_validator("photo")
    @classmethod
    def _is_base64(cls, photo: str) -> str:
        base64.b64decode(photo, validate=True)
        return photo

    @property
    def jpeg(self) -> bytes:
        """The canonical JPEG."""
        return base64.b64decode(self.photo)


class TextCanary(_Sealed):
    """A text and what the pipeline made of it.

    Attributes:
        text: what was encoded.
        meaning: what it means.
        pictured: where photos of it would lie.
    """

    text: str
    meaning: list[float]
    pictured: list[float]


class Abstention(_Sealed):
    """When an answer is "not sure".

    Attributes:
        threshold: a confidence above it is answered; at it or below, the server is not sure.
        error: share of the answered that may be wrong, as the pipeline promised.
    """

    threshold: float = Field(ge=0, le=1)
    error: float = Field(gt=0, lt=1)


class Manifest(_Sealed):
    """A release, sealed.

    Attributes:
        schema_version: goes up when an older server could not read the manifest.
        version: the release's name.
        created: when it was made, ISO 8601.
        code_revision: the commit that made it.
        data_digest: digest of the listings and photos that it was made from.
        artifacts: its files, all of ``ARTIFACTS``, and all or none of ``SEARCH_ARTIFACTS``.
        labels: names of the classes, in the order of the probabilities.
        abstention: of categories of photos, when the answer is "not sure".
        photos_version: ``photos.VERSION`` of the canonical photos it was made from.
        embedding_dimension: size of an embedding.
        counts: how many photos, listings and the like it holds.
        metrics: what it passed the gate with.
        canaries: photos with their answers.
        text_canaries: texts with theirs; at least one, where it can be searched by words.
    """

    schema_version: Literal[4] = SCHEMA_VERSION
    version: str = Field(pattern=_VERSION)
    created: str
    code_revision: str
    data_digest: str
    artifacts: dict[ArtifactName, Artifact]
    labels: tuple[str, ...] = Field(min_length=1)
    abstention: Abstention
    photos_version: int
    embedding_dimension: int = Field(ge=1)
    counts: dict[str, int]
    metrics: dict[str, JsonValue]
    canaries: tuple[Canary, ...] = Field(min_length=1)
    text_canaries: tuple[TextCanary, ...] = ()

    @property
    def is_searchable(self) -> bool:
        """Whether it can be searched by words."""
        return SEARCH_ARTIFACTS[0] in self.artifacts

    @field_validator("artifacts")
    @classmethod
    def _are_complete(cls, artifacts: dict[ArtifactName, Artifact]) -> dict[ArtifactName, Artifact]:
        missing: list[ArtifactName] = [name for name in ARTIFACTS if name not in artifacts]
        if artifacts.keys() & set(SEARCH_ARTIFACTS):
            missing += [name for name in SEARCH_ARTIFACTS if name not in artifacts]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        return artifacts

    @model_validator(mode="after")
    def _answers_texts(self) -> Self:
        if self.is_searchable and not self.text_canaries:
            raise ValueError("can be searched by words, and lacks text canaries")
        return self


def is_version(name: str) -> bool:
    """Tell whether a release may be called so."""
    return re.fullmatch(_VERSION, name) is not None


def manifest_path(version: str) -> str:
    """Say where in the lake the manifest of a version is."""
    return f"releases/{version}.json"


def read_manifest(lake: Lake, version: str) -> Manifest:
    """Read the manifest of one release.

    Raises:
        ReleaseError: there is none of that version, or it cannot be read.
    """
    if not is_version(version):
        raise ReleaseError(
            f"found the version {version!r}; expected letters, digits, '.', '_', '-'"
        )
    file = lake.name(manifest_path(version))
    try:
        data = lake.read(manifest_path(version))
    except FileNotFoundError:
        raise ReleaseError(
            f"{file}: not found; name a version that has a manifest there, or none for the one in "
            "force"
        ) from None
    except OSError as error:
        raise unreadable(file, error) from error
    _refuse_other_schema(file, data)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise _malformed(file, error) from error
    if manifest.version != version:
        raise ReleaseError(
            f"{file}: found the manifest of {manifest.version}; expected that of {version}; "
            "publish it again"
        )
    return manifest


def artifact_of(lake: Lake, path: str) -> Artifact:
    """Describe a file of the lake, as a manifest does.

    Args:
        lake: root of the lake.
        path: the file, from that root.

    Raises:
        FileNotFoundError: it is not there.
    """
    size, sha256 = lake.digest(path)
    return Artifact(path=path, bytes=size, sha256=sha256)


def open_lake(lake: str) -> Lake:
    """Open a lake for its releases.

    Raises:
        ReleaseError: no lake can be at that URL.
    """
    try:
        return Lake(lake)
    except OSError as error:
        raise ReleaseError(f"{lake}: {error}; expected a path or a URL such as s3://…") from error


def unreadable(file: str, error: OSError) -> ReleaseError:
    """Say that a file may be there, but the store does not give it."""
    said = " ".join(str(error).split()) or type(error).__name__
    return ReleaseError(
        f"{file}: cannot be read ({said}); check the lake's address, and for S3 the AWS_* variables"
    )


def _refuse_other_schema(file: str, data: bytes) -> None:
    """Say of a manifest of another schema only that, and not all that differs."""
    try:
        found = json.loads(data)
    except ValueError:
        return
    version = found.get("schema_version") if isinstance(found, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise ReleaseError(
            f"{file}: schema_version is {version}, but this version reads {SCHEMA_VERSION}. Make a new "
            "release with `kedro run`."
        )


def _malformed(file: str, error: ValidationError) -> ReleaseError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    said = " ".join(first["msg"].split())
    return ReleaseError(
        f"{file}: found {where} wrong: {said}{more}; expected a manifest of schema "
        f"version {SCHEMA_VERSION}: publish it again, or serve it with the version of "
        "this package that it was made with"
    )
