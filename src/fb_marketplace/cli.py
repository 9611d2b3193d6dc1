"""The project's commands: Kedro's own ``run``, with a user's mistakes told in one line."""

import difflib
import pkgutil
from typing import Any, Final

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.project import settings
from kedro.io.core import DatasetNotFoundError
from kedro.validation.exceptions import ParameterValidationError

from fb_marketplace import pipelines
from fb_marketplace.errors import UserError
from fb_marketplace_serving.manifest import ReleaseError

USERS: Final = (
    FileNotFoundError,
    PermissionError,
    ConnectionError,
    TimeoutError,
    DatasetNotFoundError,
    ParameterValidationError,
)
"""What a user meets, or mistyped; whatever else is raised is an error of ours, with its traceback."""


@click.group(name="fb-marketplace", context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From a bucket of raw listings to a release that a server can trust."""


def _run(pipeline: str, pipelines: tuple[str, ...], **options: Any) -> Any:
    names = [pipeline] if pipeline else list(pipelines)
    for name in names:
        _check_pipeline(name)
    try:
        return kedro_run.callback(pipeline="", pipelines=names, **options)  # type: ignore[misc]
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise click.ClickException(told) from error


cli.add_command(
    click.Command(
        "run",
        params=kedro_run.params,
        callback=_run,
        help="Run a pipeline: all of them but `sample`, or one by --pipeline.",
    )
)


@cli.command()
@env_option
def summary(env: str | None) -> None:
    """Say what the last run made, and how to ask it."""
    from fb_marketplace.summary import summary as tell

    with settings.SESSION_CLASS.create(env=env) as session:
        catalog = session.load_context().catalog
        try:
            manifest = catalog.load("release")
            version = catalog.load("run_records").latest(["cleaning_report"])["cleaning_report"]
            report = catalog.load("cleaning_report", version=version)
            lake = catalog.load("lake").url
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            raise click.ClickException(told) from error
    click.echo(tell(manifest, report, lake))


def _check_pipeline(name: str) -> None:
    there_are = [
        *sorted(module.name for module in pkgutil.iter_modules(pipelines.__path__)),
        "__default__",
    ]
    if name not in there_are:
        close = difflib.get_close_matches(name, there_are, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise click.ClickException(
            f"there is no pipeline '{name}'; there are {', '.join(there_are)}.{hint}"
        )


def _told(error: BaseException) -> str | None:
    """Say in one line what a user did or met; nothing for what is an error of ours."""
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in causes:
        if isinstance(cause, UserError | ReleaseError):
            return str(cause)
    of_a_user = isinstance(causes[-1], USERS) or str(error).startswith("Pipeline ")
    return " ".join(str(error).split()) if of_a_user else None
