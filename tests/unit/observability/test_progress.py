import pytest

from fb_marketplace.observability.progress import Progress, collect_counts


@pytest.mark.parametrize(("total", "already"), [(0, 0), (5, 5), (5, 2)])
def test_any_total_can_be_counted(total, already):
    with Progress("things", total, already) as progress:
        progress.advance(0)
        progress.advance(total - already)


def test_nothing_to_do_on_a_terminal_draws_no_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 0) as progress:
        progress.advance(0)

    assert capsys.readouterr().err == ""


def test_a_terminal_is_shown_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 4, 1) as progress:
        progress.advance(3)

    assert "4/4" in capsys.readouterr().err


def test_a_terminal_is_shown_what_is_noted_beside(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    with Progress("things", 4) as progress:
        progress.advance(4, "loss 0.125")

    assert "loss 0.125" in capsys.readouterr().err


def test_an_error_in_between_is_not_hidden():
    def work():
        with Progress("things", 3) as progress:
            progress.advance(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()


def test_what_was_begun_is_told_once_with_what_was_done_before():
    collect_counts()
    with Progress("things", 5, 2) as progress:
        progress.advance(1)
    with pytest.raises(ValueError, match="broken"), Progress("others", 3):
        raise ValueError("broken")

    assert collect_counts() == [("things", 1, 2), ("others", 0, 0)]
    assert collect_counts() == []
