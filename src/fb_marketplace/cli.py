"""The project's commands: Kedro's own ``run``, with a user's mistakes told in one line."""

import contextlib
import difflib
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import CONF_SOURCE_HELP
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.project import pipelines as registered
from kedro.framework.project import settings
from kedro.io.core import DatasetNotFoundError
from kedro.pipeline import Pipeline
from kedro.validation.exceptions import ParameterValidationError
from omegaconf.errors import OmegaConfBaseException

from fb_marketplace.errors import UserError
from fb_marketplace.storage.error_advice import advice, cause_chain, one_line
from fb_marketplace_serving.ann.faiss_index import IndexMismatchError
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.storage.urls import redact_credentials

USERS: Final = (
    FileNotFoundError,
    PermissionError,
    ConnectionError,
    TimeoutError,
    UnicodeDecodeError,
    DatasetNotFoundError,
    MissingConfigException,
    OmegaConfBaseException,
    ParameterValidationError,
)
"""What a user meets, or mistyped; whatever else is raised is an error of ours, with its traceback."""

logger = logging.getLogger(__name__)


@click.group(name="fb-marketplace", context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From a bucket of raw listings to a release that a server can trust."""


def _run(pipeline: str, pipelines: tuple[str, ...], **options: Any) -> Any:
    names = [pipeline] if pipeline else list(pipelines)
    selected = _selected(names)
    with _mistakes_in_one_line():
        for option in ("node_names", "from_nodes", "to_nodes"):
            options[option] = _full_names(options[option], selected)
        _check_tags(options["tags"], selected)
        return kedro_run.callback(pipeline="", pipelines=names, **options)  # type: ignore[misc]


cli.add_command(
    click.Command(
        "run",
        params=kedro_run.params,
        callback=_run,
        help=(
            "Run the default pipeline, or one by --pipeline. Select nodes by --nodes, --from-nodes, "
            "--to-nodes or --tags (train, encode, report); their names need no stage in front."
        ),
    )
)


@cli.command()
@env_option
@click.option("--conf-source", help=CONF_SOURCE_HELP)
def summary(env: str | None, conf_source: str | None) -> None:
    """Say what the last run made, and how to ask it."""
    from fb_marketplace.evaluation.summary import format_summary

    with (
        _mistakes_in_one_line(),
        settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session,
    ):
        catalog = session.load_context().catalog
        manifest = catalog.load("release")
        version = catalog.load("run_records").latest(["cleaning_report"])["cleaning_report"]
        report = catalog.load("cleaning_report", version=version)
        click.echo(format_summary(manifest, report, catalog.load("lake").url))


def _doctor(
    env: str | None,
    conf_source: str | None,
    params: dict[str, Any],
    pipeline: str,
    pipelines: tuple[str, ...],
) -> None:
    from fb_marketplace.diagnostics.doctor import run_checks
    from fb_marketplace.diagnostics.requirements import requirements_of

    selected = _selected([pipeline] if pipeline else list(pipelines))
    with (
        _mistakes_in_one_line(),
        settings.SESSION_CLASS.create(
            env=env, conf_source=conf_source, runtime_params=params
        ) as session,
    ):
        catalog = session.load_context().catalog
        needs = requirements_of(selected.inputs(), selected.all_outputs(), catalog)
        fails = 0
        for found in run_checks(needs, thorough=True):
            click.echo(f"{found.state:13} {found}")
            fails += found.state == "fails"
    if fails:
        raise SystemExit(1)


cli.add_command(
    click.Command(
        "doctor",
        params=[
            each
            for each in kedro_run.params
            if each.name in ("env", "conf_source", "params", "pipeline", "pipelines")
        ],
        callback=_doctor,
        help="Look at what a run needs: roots, rights, tables, disk, memory, packages. Changes nothing.",
    )
)


@cli.command()
@click.option("--keep", type=int, required=True, help="How many runs, and how many releases, stay.")
@click.option("--apply", is_flag=True, help="Remove it; without this it is only told.")
@click.option(
    "--unrecorded-for",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="Leave alone what no record tells of, for as many days since it was written.",
)
@click.option("--lake", help="The lake; by default that of the configuration, as FB_LAKE says.")
@env_option
@click.option("--conf-source", help=CONF_SOURCE_HELP)
def prune(
    keep: int,
    apply: bool,
    unrecorded_for: float,
    lake: str | None,
    env: str | None,
    conf_source: str | None,
) -> None:
    """Remove versions that no kept run or release needs."""
    from datetime import timedelta

    from fb_marketplace.lifecycle import prune as pruning
    from fb_marketplace.lifecycle import retention

    with _mistakes_in_one_line():
        root = lake or _configured_lake(env, conf_source)
        plan = retention.plan_pruning(root, keep, timedelta(days=unrecorded_for))
        if apply:
            pruning.prune(plan)
        for line in pruning.format_plan(plan, apply):
            click.echo(line)


def _refuse_floors_only(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        raise click.UsageError("--floors-only is now --skip-comparison.")


@cli.command()
@click.argument("product")
@click.option(
    "--apply", is_flag=True, help="Take it out; without this it is only told where it is."
)
@click.option(
    "--skip-comparison",
    is_flag=True,
    help="Publish the new release even if its metrics are worse; the minimum values still apply.",
)
@click.option(
    "--floors-only", is_flag=True, hidden=True, expose_value=False, callback=_refuse_floors_only
)
@env_option
@click.option("--conf-source", help=CONF_SOURCE_HELP)
def forget(
    product: str, apply: bool, skip_comparison: bool, env: str | None, conf_source: str | None
) -> None:
    """Take the listing PRODUCT out of every version, index and release. No other run may go on."""
    from dataclasses import replace

    from kedro.runner import SequentialRunner

    from fb_marketplace.lifecycle import erasure

    with _mistakes_in_one_line():
        lake = _configured_lake(env, conf_source)
        found = erasure.find_listing(lake, product)
        for line in erasure.hits_by_location(found.hits):
            click.echo(line)
        receipt = erasure.read_receipt(lake, product) if not found.hits else None
        if receipt:
            click.echo(f"it is gone already; see {lake}/{receipt}")
            return
        with settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session:
            in_bucket, traces = _look_in_bucket(session.load_context(), found.traces)
        click.echo(f"the bucket has {in_bucket.rows} rows and {in_bucket.photos} photos of it")
        if not apply:
            click.echo(
                "nothing was changed; --apply runs all anew without it, and removes all older runs and "
                "releases: there will be none to roll back to"
            )
            return
        asked = {"release": {"compare_with_current": False}} if skip_comparison else {}

        def run() -> None:
            with settings.SESSION_CLASS.create(
                env=env, conf_source=conf_source, runtime_params=asked
            ) as again:
                again.run(runner=SequentialRunner())

        told = erasure.erase(lake, replace(found, traces=traces), run, in_bucket)
        click.echo(f"it is gone; release {told['release_in_force']} is in force without it")
        click.echo(f"receipt: {lake}/{erasure.read_receipt(lake, product)}")


def _look_in_bucket(context: Any, traces: Any) -> Any:
    from fb_marketplace.lifecycle.erasure import count_in_bucket
    from fb_marketplace.parameters.cleaning import CleaningParameters

    names = ("raw_products", "raw_images", "raw_image_files", "raw_feedback")
    raw = {name: context.catalog.load(name) for name in names}
    parameters = CleaningParameters.model_validate(context.params["cleaning"])
    return count_in_bucket(**raw, parameters=parameters, traces=traces)


def _configured_lake(env: str | None, conf_source: str | None) -> str:
    with settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session:
        return str(session.load_context().catalog.load("lake").url)


@contextlib.contextmanager
def _mistakes_in_one_line() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise click.ClickException(told.replace("\n", "\nError: ")) from error


def _selected(names: list[str]) -> Pipeline:
    """Return the sum of the pipelines of these names, the default one if there are none."""
    for name in names:
        if name not in registered:
            close = difflib.get_close_matches(name, registered, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.ClickException(
                f"There is no pipeline '{name}'. Choose from {', '.join(sorted(registered))}.{hint}"
            )
    return sum((registered[name] for name in names or ["__default__"]), start=Pipeline([]))


def _full_names(names: Iterable[str], pipeline: Pipeline) -> list[str]:
    """Return the names of nodes as Kedro's filters expect them, with the stage in front."""
    full = {name: name for name in (node.name for node in pipeline.nodes)}
    full |= {name.rpartition(".")[2]: name for name in full}
    for name in names:
        if name not in full:
            alike = [known for known in full if ("." in known) == ("." in name)]
            close = difflib.get_close_matches(name, alike, n=3)
            hint = f" Did you mean {', '.join(close)}?" if close else " `make viz` shows them."
            raise UserError(f"This run has no node '{name}'.{hint}")
    return [full[name] for name in names]


def _check_tags(tags: Iterable[str], pipeline: Pipeline) -> None:
    known = {tag for node in pipeline.nodes for tag in node.tags}
    for tag in tags:
        if tag not in known:
            raise UserError(
                f"No node of this run has the tag '{tag}'. Choose from {sorted(known)}."
            )


def _told(error: BaseException) -> str | None:
    """Say in one line what a user did or met; nothing for what is an error of ours."""
    chain = list(cause_chain(error))
    for cause in chain:
        if isinstance(cause, UserError | ReleaseError | IndexMismatchError):
            return redact_credentials(str(cause))
    to_do = advice(error)
    of_a_user = (
        to_do
        or isinstance(chain[-1], USERS)
        or any(_is_of(cause, "botocore.", "pandas.errors") for cause in chain)
        or str(error).startswith("Pipeline ")
    )
    if not of_a_user:
        return None
    logger.debug("told in one line", exc_info=error)
    return f"{one_line(error)}{f'; {to_do}' if to_do else ''}"


def _is_of(error: BaseException, *modules: str) -> bool:
    """Tell an error of a library, such as a store that refuses, without importing the library."""
    return any(base.__module__.startswith(modules) for base in type(error).__mro__)
