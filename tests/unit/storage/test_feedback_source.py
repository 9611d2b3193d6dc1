import fsspec
import pytest

from fb_marketplace.storage.feedback_source import FeedbackSource


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    """A folder that is not there yet, on disk and in fsspec's memory, by (folder, write)."""
    url = (
        str(tmp_path / "Feedback[1]")
        if request.param == "disk"
        else f"memory://{tmp_path.name}/Feedback[1]"
    )
    filesystem, root = fsspec.core.url_to_fs(url)

    def write(name, content):
        filesystem.makedirs(root, exist_ok=True)
        filesystem.pipe_file(f"{root}/{name}", content)

    return FeedbackSource(url), write


def test_missing_folder_has_no_lines(folder):
    feedback, _ = folder

    assert not feedback.exists()
    assert list(feedback.lines("searches")) == []


def test_lines_of_a_kind_are_read_by_day(folder):
    feedback, write = folder
    write("searches-2026-03-02.jsonl", b"three\nfour")
    write("searches-2026-03-01.jsonl", b"one\ntwo\n")
    write("clicks-2026-03-01.jsonl", b"click\n")
    write("notes.txt", b"none\n")

    assert feedback.exists()
    assert [line.strip() for line in feedback.lines("searches")] == [
        b"one",
        b"two",
        b"three",
        b"four",
    ]
    assert list(feedback.lines("clicks")) == [b"click\n"]
