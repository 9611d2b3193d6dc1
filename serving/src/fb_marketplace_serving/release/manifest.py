"""The manifest of a release, ``releases/<version>.json``, written once."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from itertools import chain
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

SCHEMA_VERSION: Final = 6
"""Version of the manifest and of its artifacts. Releases of other versions are not read."""

PhotoArtifact = Literal[
    "encoder",
    "image_index",
    "image_index_ids",
    "listings",
    "descriptions",
    "release_photos",
    "release_display_photos",
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
    "dual_text_encoder",
    "dual_tokenizer",
    "text_to_image_index",
    "text_to_image_index_ids",
    "ranker",
    "relevance_model",
    "price_insights",
    "provenance",
]
ArtifactName = PhotoArtifact | SearchArtifact
IndexArtifact = Literal["image_index", "text_index", "text_to_image_index"]
INDEXES: Final[tuple[IndexArtifact, ...]] = get_args(IndexArtifact)
"""Artifacts with vectors, which may be FAISS indexes or Lance tables."""
ARTIFACTS: Final[tuple[PhotoArtifact, ...]] = get_args(PhotoArtifact)
"""Artifacts of photo search. Listings, descriptions, measures and tables of photos are in every release."""
PHOTO_TABLES: Final[tuple[PhotoArtifact, ...]] = ("release_photos", "release_display_photos")
"""Artifacts that list the files of photos."""
DUAL_ENCODER: Final[tuple[SearchArtifact, ...]] = ("dual_text_encoder", "dual_tokenizer")
"""Artifacts of a dual encoder. A release has both, or none."""
SEARCH_ARTIFACTS: Final[tuple[SearchArtifact, ...]] = tuple(
    name for name in get_args(SearchArtifact) if name not in DUAL_ENCODER
)
"""Artifacts for text search and explanations. A release has all of them, or none, except the parts that it
lacks."""

Part = Literal[
    "photo_search",
    "category_prediction",
    "text_to_image",
    "ranker",
    "relevance_model",
    "price_insights",
]
PARTS: Final[dict[Part, tuple[ArtifactName, ...]]] = {
    "photo_search": ("encoder", "image_index", "image_index_ids"),
    "category_prediction": (),
    "text_to_image": ("text_to_image_index", "text_to_image_index_ids"),
    "ranker": ("ranker",),
    "relevance_model": ("relevance_model",),
    "price_insights": ("price_insights",),
}
"""Parts that a release may lack, with their artifacts: a market may have no photos or no prices."""

TAIL_BYTES: Final = 1024 * 1024
"""Size of the end of a Lance file that holds its metadata, for up to some thousand pages of 8 MB."""

REPAIR: Final = "publish the release again, or choose another with `fb-serve rollback`"
"""The remedy in errors about damaged releases."""

_VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Pattern of versions. A version is part of a file name and of a header of every response."""


class ReleaseError(ValueError):
    """A release that must not be served. The message is one line: file, problem, remedy."""


def _inside_the_lake(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "://" in path:
        raise ValueError("must be a relative path inside the lake")
    return path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(_Frozen):
    """A file of a release.

    Attributes:
        path: path relative to the lake's root.
        bytes: size of the file.
        sha256: checksum of the file, in hex.
    """

    path: Annotated[str, AfterValidator(_inside_the_lake)]
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def difference(self, size: int, sha256: str) -> str | None:
        """Return how a file's size or checksum differs, or None if both match."""
        if size != self.bytes:
            return f"found {size:,} bytes; expected {self.bytes:,}"
        if sha256 != self.sha256:
            return f"found sha256 {sha256[:12]}…; expected {self.sha256[:12]}…"
        return None


class VectorTableFiles(_Frozen):
    """A Lance table with the vectors of an index. Servers read it in place.

    Attributes:
        path: folder of the table, relative to the lake's root.
        version: version of the table.
        index_sha256: checksum of the FAISS index with the same vectors, which the ids refer to.
        files: all files of the table.
        tails_sha256: checksum of the last ``TAIL_BYTES`` of its files of vectors, one after the other.
    """

    path: Annotated[str, AfterValidator(_inside_the_lake)]
    version: int = Field(ge=1)
    index_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    files: tuple[Artifact, ...] = Field(min_length=1)
    tails_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def split(self) -> tuple[list[Artifact], list[Artifact]]:
        """Return the files of vectors, and the others."""
        prefix = f"{self.path}/data/"
        vectors = [file for file in self.files if file.path.startswith(prefix)]
        return vectors, [file for file in self.files if not file.path.startswith(prefix)]


class Canary(_Frozen):
    """A photo with the pipeline's outputs. Every process that opens the release must reproduce them.

    Attributes:
        image_id: the photo.
        photo: its canonical JPEG, in base64.
        probabilities: class probabilities, in the order of the labels.
        embedding: its embedding.
        neighbors: ids of the photos nearest to it in the index, nearest first.
    """

    image_id: str
    photo: str
    probabilities: list[float]
    embedding: list[float]
    neighbors: list[str] = Field(min_length=1)

    @field_validator("photo")
    @classmethod
    def _is_base64(cls, photo: str) -> str:
        base64.b64decode(photo, validate=True)
        return photo

    @property
    def jpeg(self) -> bytes:
        """The canonical JPEG."""
        return base64.b64decode(self.photo)


class TextCanary(_Frozen):
    """A text with the pipeline's outputs. Every process that opens the release must reproduce them.

    Attributes:
        text: the text.
        text_embedding: its embedding for text search.
        text_to_image_embedding: its embedding in the space of image embeddings.
    """

    text: str
    text_embedding: list[float]
    text_to_image_embedding: list[float]


class Abstention(_Frozen):
    """Rule by which the category classifier abstains.

    Attributes:
        threshold: the server abstains at this confidence or below.
        error: maximum error rate of the remaining answers that the threshold was calibrated for.
    """

    threshold: float = Field(ge=0, le=1)
    error: float = Field(gt=0, lt=1)


class PretrainedWeights(_Frozen):
    """Weights of others that the encoder of photos was made from.

    Attributes:
        name: name of the network.
        source: package, name in torchvision, address in the hub or name of the file.
        sha256: digest of the file, if known.
        license: the licence of the weights.
    """

    name: str
    source: str
    sha256: str | None = None
    license: str


class Manifest(_Frozen):
    """A release: its files with checksums, labels, metrics and canaries.

    Attributes:
        schema_version: increases if older servers cannot read the manifest.
        version: the release's name.
        created: time of creation, ISO 8601.
        code_revision: the commit that created it.
        data_digest: digest of its listings and photos.
        artifacts: its files: all of ``ARTIFACTS``, and all or none of ``SEARCH_ARTIFACTS``, but neither
            those of the parts that it lacks nor indexes that are tables; and all or none of
            ``DUAL_ENCODER``.
        search_engine: what servers search vectors with.
        vector_tables: with ``lance``, the tables in place of the indexes.
        lacks: the parts that it lacks, each with the reason.
        labels: names of the classes, in the order of the probabilities; empty without category prediction.
        abstention: rule by which the category classifier abstains; None without category prediction.
        photos_version: ``canonical.VERSION`` of its photos.
        framing_version: ``letterbox.FRAMING_VERSION`` of its encoder.
        embedding_dimension: number of dimensions of an embedding; 0 without photo search.
        counts: numbers of photos, listings and files.
        weights: pretrained weights that its encoder was made from.
        metrics: evaluation metrics, including the gate's report.
        canaries: photos with their outputs.
        text_canaries: texts with their outputs; at least one if the release supports text search.
    """

    schema_version: Literal[6] = SCHEMA_VERSION
    version: str = Field(pattern=_VERSION)
    created: str
    code_revision: str
    data_digest: str
    artifacts: dict[ArtifactName, Artifact]
    search_engine: Literal["faiss", "lance"] = "faiss"
    vector_tables: dict[IndexArtifact, VectorTableFiles] = {}
    lacks: dict[Part, str] = {}
    labels: tuple[str, ...]
    abstention: Abstention | None
    photos_version: int
    framing_version: int = 1
    embedding_dimension: int = Field(ge=0)
    counts: dict[str, int]
    weights: tuple[PretrainedWeights, ...] = ()
    metrics: dict[str, JsonValue]
    canaries: tuple[Canary, ...]
    text_canaries: tuple[TextCanary, ...] = ()

    def path_of(self, name: ArtifactName) -> str:
        """Return the path of an artifact, or of the table in its place."""
        if name in self.artifacts:
            return self.artifacts[name].path
        return {str(index): table.path for index, table in self.vector_tables.items()}[name]

    @property
    def files(self) -> list[Artifact]:
        """The distinct files of artifacts and tables, without photo files."""
        tables = (table.files for table in self.vector_tables.values())
        return list({file.path: file for file in chain(self.artifacts.values(), *tables)}.values())

    @property
    def is_searchable(self) -> bool:
        """Whether the release supports text search."""
        return not self.artifacts.keys().isdisjoint(SEARCH_ARTIFACTS)

    @model_validator(mode="after")
    def _has_all_artifacts(self) -> Self:
        expected: set[ArtifactName] = {
            *ARTIFACTS,
            *(SEARCH_ARTIFACTS if self.is_searchable else ()),
        }
        lacking = {name for part in self.lacks for name in PARTS[part]}
        present: set[ArtifactName] = {*self.artifacts, *self.vector_tables}
        if not present.isdisjoint(DUAL_ENCODER):
            expected |= {*DUAL_ENCODER}
        missing = [
            name
            for name in get_args(PhotoArtifact) + get_args(SearchArtifact)
            if name in expected - lacking - present
        ]
        if missing:
            raise ValueError(f"missing artifacts: {', '.join(missing)}")
        if surplus := sorted(lacking & present):
            raise ValueError(f"artifacts of parts that the release lacks: {', '.join(surplus)}")
        return self

    @model_validator(mode="after")
    def _has_vectors_of_its_engine(self) -> Self:
        wrong = set(INDEXES) & (
            self.artifacts.keys() if self.search_engine == "lance" else self.vector_tables.keys()
        )
        if wrong:
            raise ValueError(
                f"found {', '.join(sorted(wrong))} in the format of another search engine; expected "
                f"{self.search_engine}"
            )
        return self

    @model_validator(mode="after")
    def _has_classes(self) -> Self:
        expected = "category_prediction" not in self.lacks
        if (bool(self.labels), self.abstention is not None) != (expected, expected):
            raise ValueError(
                f"found {len(self.labels)} labels {'with' if self.abstention else 'without'} an abstention "
                f"rule; expected {'both' if expected else 'neither'}"
            )
        return self

    @model_validator(mode="after")
    def _has_canaries(self) -> Self:
        if not self.canaries and "photo_search" not in self.lacks:
            raise ValueError("a release with photo search needs canaries")
        if self.is_searchable and not self.text_canaries:
            raise ValueError("a release with text search needs at least one text canary")
        return self


def is_version(name: str) -> bool:
    """Check whether a name is a valid version."""
    return re.fullmatch(_VERSION, name) is not None


def manifest_path(version: str) -> str:
    """Return the path of a version's manifest in the lake."""
    return f"releases/{version}.json"


def read_manifest(lake: Lake, version: str, sha256: str | None = None) -> Manifest:
    """Read the manifest of a release.

    Args:
        lake: the lake.
        version: the release.
        sha256: checksum of the manifest, from the pointer; None if it is unknown.

    Raises:
        ReleaseError: there is no such release, or its manifest cannot be read or has another checksum.
    """
    if not is_version(version):
        raise ReleaseError(
            f"invalid version {version!r}; expected letters, digits, '.', '_' and '-'"
        )
    file = lake.name(manifest_path(version))
    try:
        data = lake.read(manifest_path(version))
    except FileNotFoundError:
        raise ReleaseError(
            f"{file}: not found; choose a version from `fb-serve releases`, or omit the version to use "
            "the current release"
        ) from None
    except OSError as error:
        raise unreadable(file, error) from error
    actual = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, actual):
        raise ReleaseError(
            f"{file}: found sha256 {actual[:12]}…; the pointer expects {str(sha256)[:12]}…; {REPAIR}"
        )
    _check_schema(file, data)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise _malformed(file, error) from error
    if manifest.version != version:
        raise ReleaseError(
            f"{file}: contains the manifest of {manifest.version}; expected {version}. Publish the "
            "release again."
        )
    return manifest


def artifact_of(lake: Lake, path: str) -> Artifact:
    """Return the path, size and checksum of a file of the lake.

    Raises:
        FileNotFoundError: there is no such file.
    """
    size, sha256 = lake.digest(path)
    return Artifact(path=path, bytes=size, sha256=sha256)


def tails_sha256(lake: Lake, files: Sequence[Artifact]) -> str:
    """Compute the checksum of the last ``TAIL_BYTES`` of files, one after the other.

    Raises:
        OSError: a file cannot be read.
    """
    sha256 = hashlib.sha256()
    for file in files:
        sha256.update(lake.read_range(file.path, max(0, file.bytes - TAIL_BYTES), file.bytes))
    return sha256.hexdigest()


def open_lake(url: str) -> Lake:
    """Open a lake.

    Raises:
        ReleaseError: the URL is invalid.
    """
    try:
        return Lake(url)
    except OSError as error:
        raise ReleaseError(f"{url}: {error}; expected a path or a URL such as s3://…") from error


def unreadable(file: str, error: OSError) -> ReleaseError:
    """Return the error for a file that the store cannot deliver."""
    message = " ".join(str(error).split()) or type(error).__name__
    return ReleaseError(
        f"{file}: cannot be read ({message}); check the URL of the lake and, for S3, the AWS_* variables"
    )


def _check_schema(file: str, data: bytes) -> None:
    """Raise one clear error for another schema version, instead of one per invalid field."""
    try:
        content = json.loads(data)
    except ValueError:
        return
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise ReleaseError(
            f"{file}: schema_version is {version}, but this version reads {SCHEMA_VERSION}. Build a new "
            "release with `kedro run`."
        )


def _malformed(file: str, error: ValidationError) -> ReleaseError:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ReleaseError(
        f"{file}: invalid {field}: {' '.join(first['msg'].split())}{more}; expected a manifest of "
        f"schema version {SCHEMA_VERSION}. Build a new release with `kedro run`."
    )
