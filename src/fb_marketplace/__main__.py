"""``python -m fb_marketplace`` and ``fb-marketplace``: the commands of the packaged project."""

from pathlib import Path

from kedro.framework.project import configure_project

from fb_marketplace.cli import cli


def main() -> None:
    """Run a command of the packaged project."""
    configure_project(Path(__file__).parent.name)
    cli(prog_name="fb-marketplace")


if __name__ == "__main__":
    main()
