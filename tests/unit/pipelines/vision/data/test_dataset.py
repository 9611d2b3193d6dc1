import pytest
import torch

from fb_marketplace.pipelines.vision.data.dataset import (
    BatchSampler,
    PhotoDataset,
    SampleRef,
    make_loader,
)
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content


@pytest.fixture
def images(store_photos, draw_photo):
    return store_photos({name: draw_photo(seed) for seed, name in enumerate("abcdefg")})


@pytest.fixture
def changing(images, base_recipe):
    """Gives the photos at some rows, changed for training."""

    def read(rows=range(7), seed=0):
        return PhotoDataset(images, rows, base_recipe.fine_tuning.augmentation, seed)

    return read


def pixels_of(images, row):
    (jpeg,) = images.take([row], ["jpeg"]).column("jpeg").to_pylist()
    return torch.from_numpy(stretch_content(canonical.decode_canonical(jpeg)).copy())


def places(batches):
    return [[item.position for item in batch] for batch in batches]


def test_photos_without_augmentation_are_as_encoded(images):
    rows = [5, 0, 3]
    (batch,) = make_loader(PhotoDataset(images, rows), BatchSampler(3, 8, None), workers=0)

    assert batch.pixels.dtype == torch.uint8
    assert batch.positions.tolist() == [0, 1, 2]
    assert all(
        torch.equal(result, pixels_of(images, row))
        for result, row in zip(batch.pixels, rows, strict=True)
    )


def test_augmentation_does_not_depend_on_read_order(changing):
    forth, back = (
        changing().__getitems__([SampleRef(2, place) for place in order])
        for order in ((0, 1, 2, 3), (3, 2, 1, 0))
    )

    assert torch.equal(forth.pixels, back.pixels.flip(0))


@pytest.mark.parametrize(("seed", "epoch"), [(0, 2), (1, 1)])
def test_augmentation_depends_on_epoch_and_seed(changing, seed, epoch):
    before = changing()[SampleRef(1, 0)]
    after = changing(seed=seed)[SampleRef(epoch, 0)]

    assert not torch.equal(before.pixels, after.pixels)


def test_photos_are_augmented_independently(images, base_recipe):
    same_photo_twice = PhotoDataset(images, [4, 4], base_recipe.fine_tuning.augmentation, seed=0)

    one, other = same_photo_twice.__getitems__([SampleRef(1, 0), SampleRef(1, 1)]).pixels

    assert not torch.equal(one, other)


def test_photos_are_unique_within_an_epoch():
    batches = BatchSampler(50, 8, seed=0)

    seen = [place for batch in places(batches) for place in batch]

    assert len(seen) == len(set(seen)) == 48
    assert set(seen) <= set(range(50))


def test_order_depends_on_seed_and_epoch():
    def owner(seed, epoch):
        batches = BatchSampler(50, 8, seed)
        batches.epoch = epoch
        return places(batches)

    assert owner(0, 1) == owner(0, 1)
    assert len({str(owner(seed, epoch)) for seed, epoch in ((0, 1), (0, 2), (1, 1))}) == 3


def test_photo_has_epoch_of_its_batch():
    batches = BatchSampler(6, 3, seed=0)
    batches.epoch = 4

    assert {item.epoch for batch in batches for item in batch} == {4}


@pytest.mark.parametrize(("seed", "sizes"), [(0, [3, 3]), (None, [3, 3, 2])])
def test_last_short_batch_is_dropped_only_if_shuffled(seed, sizes):
    batches = BatchSampler(8, 3, seed)

    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_single_short_batch_is_kept():
    assert sorted(*places(BatchSampler(3, 8, seed=0))) == [0, 1, 2]


def test_unshuffled_photos_are_in_order():
    assert places(BatchSampler(5, 2, None)) == [[0, 1], [2, 3], [4]]


def test_worker_process_gives_the_same_photos(changing):
    def read(workers):
        batches = BatchSampler(7, 3, seed=0)
        reading = make_loader(changing(), batches, workers)
        result = []
        for epoch in (1, 2):
            batches.epoch = epoch
            result += [*reading]
        return result

    here, elsewhere = read(0), read(1)

    assert len(here) == len(elsewhere) == 4
    for one, other in zip(here, elsewhere, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.positions, other.positions)


def test_reading_does_not_touch_torch_random_state(changing):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    list(make_loader(changing(), BatchSampler(7, 3, seed=0), workers=0))

    assert torch.equal(torch.rand(3), expected)
