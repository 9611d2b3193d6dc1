"""A release with its search engine and batcher."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Self

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.candidates import SearchIndexes
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.listing_store import ListingStore
from fb_marketplace_serving.server.inference.batching import Batcher
from fb_marketplace_serving.server.settings import Settings


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """A release, and what is kept beside it; a request holds on to one from its beginning to its end."""

    release: Release
    catalogue: ListingStore
    batcher: Batcher
    searcher: SearchEngine | None

    @property
    def version(self) -> str:
        """Name the release."""
        return self.release.manifest.version

    @classmethod
    def of(cls, release: Release, executor: Executor, settings: Settings) -> Self:
        """Make ready to serve a release."""
        batcher = Batcher(
            release.encoder.encode,
            executor,
            lanes=settings.lanes,
            max_batch=settings.max_batch,
            wait=settings.batch_wait_ms / 1000,
        )
        catalogue = _catalogue_of(release)
        return cls(release, catalogue, batcher, _searcher_of(release, catalogue))


def _catalogue_of(release: Release) -> ListingStore:
    facts = (
        release.search.facts
        if release.search
        else ListingFeatures.unknown(sorted(release.listings))
    )
    return ListingStore(release.index, release.listings, facts)


def _searcher_of(release: Release, catalogue: ListingStore) -> SearchEngine | None:
    parts = release.search
    if parts is None:
        return None
    searched = SearchIndexes(catalogue, release.index, parts.pictures, parts.texts, parts.words)
    return SearchEngine(searched, parts.ranker, release.manifest.labels)
