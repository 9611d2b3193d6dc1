import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.sample_bucket import SampleBucketDataset
from fb_marketplace.errors import UserError


class Drawn:
    """A bucket of two files, or one that fails after the first."""

    def __init__(self, fails=False):
        self.fails = fails

    def files(self):
        yield "Assets/Products.csv", b"id\n"
        if self.fails:
            raise RuntimeError("out of paint")
        yield "images/a.jpg", b"photo"


def save(root, drawn):
    """Save like Kedro and raise the cause of its error."""
    try:
        SampleBucketDataset(str(root)).save(drawn)
    except DatasetError as error:
        raise error.__cause__ or error from None


@pytest.fixture(params=["new", "empty", "kept"])
def root(request, tmp_path):
    root = tmp_path / "lake" / "01_raw"
    if request.param != "new":
        root.mkdir(parents=True)
    if request.param == "kept":
        (root / ".gitkeep").touch()
    return root


def file_names(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


def test_empty_root_is_filled(root):
    save(root, Drawn())

    assert [name for name in file_names(root) if name != ".gitkeep"] == [
        "Assets/Products.csv",
        "images/a.jpg",
    ]
    assert (root / "images/a.jpg").read_bytes() == b"photo"


def test_failed_generation_leaves_no_partial_bucket(root):
    with pytest.raises(RuntimeError):
        save(root, Drawn(fails=True))

    assert not (root / "Assets").exists()
    save(root, Drawn())
    assert (root / "Assets/Products.csv").exists()


def test_nothing_is_written_next_to_the_root(root):
    with pytest.raises(RuntimeError):
        save(root, Drawn(fails=True))

    assert [path.name for path in root.parent.iterdir()] == ["01_raw"]


def test_no_temporary_files_are_left(root):
    save(root, Drawn())

    assert {path.name for path in root.iterdir()} - {".gitkeep"} == {"Assets", "images"}


def test_nonempty_root_is_unchanged(tmp_path):
    (tmp_path / "mine.csv").write_text("1")

    with pytest.raises(UserError, match=r"mine\.csv"):
        save(tmp_path, Drawn())
    assert file_names(tmp_path) == ["mine.csv"]


@pytest.mark.parametrize("url", ["s3://bucket/raw", "memory://bucket"])
def test_remote_root_is_rejected(url):
    with pytest.raises(UserError, match=url):
        save(url, Drawn())


def test_root_may_be_a_file_url(tmp_path):
    save(f"file://{tmp_path}/raw", Drawn())

    assert (tmp_path / "raw/images/a.jpg").exists()


def test_load_is_rejected(tmp_path):
    with pytest.raises(DatasetError, match="cleaning"):
        SampleBucketDataset(str(tmp_path)).load()
