"""A release with its listing store, batcher and search engine."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Self

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.candidates import SearchIndexes
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.listing_store import ListingStore
from fb_marketplace_serving.search.query.understanding import QueryUnderstanding
from fb_marketplace_serving.server.inference.batching import Batcher
from fb_marketplace_serving.server.settings import Settings, cores
from fb_marketplace_serving.storage.private_file import trim_memory


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """A release ready to serve. A request uses the same one from beginning to end.

    Attributes:
        release: the opened release.
        store: its listings.
        batcher: its image encoder, behind a queue; None if the release has no photo search.
        engine: its search engine; None if the release was built without text search.
        queries: understands queries by its words; None if the release was built without text search.
    """

    release: Release
    store: ListingStore
    batcher: Batcher | None
    engine: SearchEngine | None
    queries: QueryUnderstanding | None

    @property
    def version(self) -> str:
        """Version of the release."""
        return self.release.manifest.version

    @classmethod
    def prepare(cls, release: Release, executor: Executor, settings: Settings) -> Self:
        """Build the listing store, batcher and search engine of a release.

        Args:
            release: an opened release.
            executor: runs the image encoder; has a thread for each core.
            settings: server settings.
        """
        batcher = None
        if release.encoder:
            workers = min(settings.num_encoder_workers, cores())
            batcher = Batcher(
                release.encoder.encode_stretched,
                executor,
                workers=workers,
                has_worker_per_thread=workers >= cores(),
                max_batch=settings.max_batch,
                max_wait=settings.batch_wait_ms / 1000,
            )
        artifacts = release.search
        if artifacts is None:
            features = ListingFeatures.unknown(release.listings.ids.sorted())
            store = ListingStore(release.index, release.listings, features)
            return cls(release, store, batcher, None, None)
        store = ListingStore(release.index, release.listings, artifacts.listing_features)
        trim_memory()  # The columns of all listings were read.
        indexes = SearchIndexes(
            store,
            release.index,
            artifacts.text_to_image_index or Index.empty(),
            artifacts.text_index,
            artifacts.bm25,
        )
        engine = SearchEngine(
            indexes, artifacts.ranker, release.manifest.labels, artifacts.relevance_model
        )
        engine.prepare_browsing()
        trim_memory()
        queries = QueryUnderstanding(release.listings, artifacts.bm25, artifacts.gazetteer)
        return cls(release, store, batcher, engine, queries)
