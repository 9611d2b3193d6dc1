import pytest

from fb_marketplace.observability.progress import Progress, collect_counts, hide_progress


@pytest.mark.parametrize(("total", "already"), [(0, 0), (5, 5), (5, 2)])
def test_any_total_can_be_counted(total, already):
    with Progress("things", total, already) as progress:
        progress.advance(0)
        progress.advance(total - already)


def test_empty_progress_draws_no_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 0) as progress:
        progress.advance(0)

    assert capsys.readouterr().err == ""


def test_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 4, 1) as progress:
        progress.advance(3)

    assert "4/4" in capsys.readouterr().err


def test_terminal_shows_notes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 4) as progress:
        progress.advance(4, "loss 0.125")

    assert "loss 0.125" in capsys.readouterr().err


def test_error_inside_is_raised():
    def work():
        with Progress("things", 3) as progress:
            progress.advance(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()


def test_start_is_logged_once_with_earlier_progress():
    collect_counts()
    with Progress("things", 5, 2) as progress:
        progress.advance(1)
    with pytest.raises(ValueError, match="broken"), Progress("others", 3):
        raise ValueError("broken")

    assert collect_counts() == [("things", 1, 2), ("others", 0, 0)]
    assert collect_counts() == []


def test_hidden_progress_is_neither_shown_nor_reported(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    collect_counts()

    with Progress("trials", 1), hide_progress(), Progress("epochs", 2) as epochs:
        epochs.advance(2)

    assert [count.task for count in collect_counts()] == ["trials"]
    assert "epochs" not in capsys.readouterr().err
    assert not Progress.is_hidden


def test_hidden_progress_is_not_logged(monkeypatch, caplog):
    monkeypatch.setattr("fb_marketplace.observability.progress.LOG_INTERVAL_S", -1.0)

    with caplog.at_level("INFO"), hide_progress(), Progress("epochs", 2) as epochs:
        epochs.advance(1)

    assert caplog.messages == []
