"""Commands of the project. Errors that the user can fix are printed in one line."""

import contextlib
import difflib
import logging
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

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
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import redact_credentials

USER_ERRORS: Final = (
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
"""Errors of the user or the environment. Any other error is a bug and is shown with a traceback."""

NODE_FILTERS: Final = ("node_names", "from_nodes", "to_nodes", "tags", "from_inputs", "to_outputs")
"""Options of `kedro run` that select nodes."""

RUNNERS: Final = (
    "fb_marketplace.runner.incremental_runner.IncrementalRunner",
    "fb_marketplace.runner.incremental_runner.RecomputingRunner",
)

logger = logging.getLogger(__name__)


@click.group(name="fb-marketplace", context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Build a search release from a bucket of raw listings."""


def _run(pipeline: str, pipelines: tuple[str, ...], recompute: bool, **options: Any) -> Any:
    names = [pipeline] if pipeline else list(pipelines)
    selected = _selected(names)
    with _one_line_errors():
        for option in ("node_names", "from_nodes", "to_nodes"):
            options[option] = _full_names(options[option], selected)
        _check_tags(options["tags"], selected)
        # Nodes that are named are computed.
        recompute |= any(options[option] for option in NODE_FILTERS)
        # Kedro's own runner would execute nodes that this project skips.
        if options["runner"] in {None, "SequentialRunner"}:
            options["runner"] = RUNNERS[recompute]
        return kedro_run.callback(pipeline="", pipelines=names, **options)  # type: ignore[misc]


cli.add_command(
    click.Command(
        "run",
        params=[
            *kedro_run.params,
            click.Option(
                ["--recompute"], is_flag=True, help="Compute all nodes, also those without changes."
            ),
        ],
        callback=_run,
        help=(
            "Run the default pipeline, or one by --pipeline. Nodes whose inputs, parameters and code have "
            "not changed are reused. Select nodes by --nodes, --from-nodes, --to-nodes or --tags (train, "
            "encode, report); they are computed, and their names need no stage in front."
        ),
    )
)


@cli.command()
@env_option
@click.option("--conf-source", help=CONF_SOURCE_HELP)
def summary(env: str | None, conf_source: str | None) -> None:
    """Summarize the last run and show example queries."""
    from fb_marketplace.evaluation.summary import TrainedModel, format_summary

    with (
        _one_line_errors(),
        settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session,
    ):
        catalog = session.load_context().catalog
        manifest = catalog.load("release")
        records = catalog.load("run_records")
        versions = records.latest(["cleaning_report", "drift_report"])
        report = catalog.load("cleaning_report", version=versions["cleaning_report"])
        drift = (
            catalog.load("drift_report", version=versions["drift_report"])
            if "drift_report" in versions
            else None
        )
        trainings = sorted(records.trainings().items())
        models = [TrainedModel(name, *training) for name, training in trainings]
        click.echo(format_summary(manifest, report, catalog.load("lake").url, models, drift))


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
        _one_line_errors(),
        settings.SESSION_CLASS.create(
            env=env, conf_source=conf_source, runtime_params=params
        ) as session,
    ):
        catalog = session.load_context().catalog
        requirements = requirements_of(selected.inputs(), selected.all_outputs(), catalog)
        has_failed = False
        for result in run_checks(requirements, count_remote_photos=True):
            click.echo(f"{result.state:8} {result}")
            has_failed |= result.state == "fails"
    if has_failed:
        raise SystemExit(1)


cli.add_command(
    click.Command(
        "doctor",
        params=[
            option
            for option in kedro_run.params
            if option.name in ("env", "conf_source", "params", "pipeline", "pipelines")
        ],
        callback=_doctor,
        help="Check the requirements of a run: roots, permissions, tables, disk, memory, packages.",
    )
)


@cli.command()
@click.option("--keep", type=int, required=True, help="Number of runs and of releases that stay.")
@click.option("--apply", is_flag=True, help="Remove the items; by default they are only printed.")
@click.option(
    "--unrecorded-for",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="Keep files that belong to no recorded run for this long after they were written.",
)
@click.option("--lake", help="Path or URL of the lake; by default FB_LAKE, or the configuration's.")
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
    """Remove old versions that no remaining run or release needs."""
    from datetime import timedelta

    from fb_marketplace.lifecycle import prune as pruning
    from fb_marketplace.lifecycle.retention import plan_pruning

    with _one_line_errors():
        root = Lake(lake) if lake else _configured_lake(env, conf_source)
        plan = plan_pruning(root, keep, timedelta(days=unrecorded_for))
        if apply:
            pruning.prune(plan)
        for line in pruning.format_plan(plan, apply):
            click.echo(line)


def _refuse_floors_only(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        raise click.UsageError("--floors-only is now --skip-comparison.")


@cli.command()
@click.argument("products", nargs=-1, metavar="PRODUCT...")
@click.option(
    "--from",
    "file",
    type=click.File(encoding="utf-8-sig"),
    help="File with one id per line; - for standard input.",
)
@click.option(
    "--apply", is_flag=True, help="Erase the listings; by default their locations are only printed."
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
    products: tuple[str, ...],
    file: IO[str] | None,
    apply: bool,
    skip_comparison: bool,
    env: str | None,
    conf_source: str | None,
) -> None:
    """Erase listings from every version, index and release. No other run may be active."""
    from dataclasses import replace

    from fb_marketplace.lifecycle import erasure
    from fb_marketplace.runner.incremental_runner import RecomputingRunner
    from fb_marketplace.schemas.ids import normalize_id

    with _one_line_errors():
        ids = frozenset(filter(None, map(normalize_id, (*products, *(file or ())))))
        if not ids:
            raise click.UsageError("Pass ids of listings, or a file of ids with --from.")
        lake = _configured_lake(env, conf_source)
        plan = erasure.find_listings(lake, ids)
        for line in erasure.hits_by_location(plan.hits):
            click.echo(line)
        receipts = erasure.read_receipts(lake, ids) if not plan.hits else []
        if receipts:
            click.echo(f"already erased; see {', '.join(map(lake.name, receipts))}")
            return
        count = len(plan.fingerprints.product_ids)
        listings = "the listing" if count == 1 else f"{count:,} listings"
        with settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session:
            residue, fingerprints = _count_in_bucket(session.load_context(), plan.fingerprints)
        click.echo(f"the bucket has {residue.rows} rows and {residue.photos} photos of {listings}")
        if not apply:
            click.echo(
                f"nothing was changed; --apply runs everything again without {listings}, and removes all "
                "older runs and releases: a rollback is impossible afterwards"
            )
            return
        parameters = {"release": {"compare_with_current": False}} if skip_comparison else {}

        def run() -> None:
            with settings.SESSION_CLASS.create(
                env=env, conf_source=conf_source, runtime_params=parameters
            ) as session:
                session.run(runner=RecomputingRunner())

        plan = replace(plan, fingerprints=fingerprints)
        written = erasure.erase(lake, plan, run, residue)
        click.echo(f"erased; release {written['current_release']} is current")
        click.echo(f"receipt: {lake.name(erasure.read_receipts(lake, ids)[0])}")


def _count_in_bucket(context: Any, fingerprints: Any) -> Any:
    from fb_marketplace.lifecycle.erasure import count_in_bucket
    from fb_marketplace.parameters.cleaning import CleaningParameters

    names = ("raw_products", "raw_images", "raw_image_files", "raw_feedback")
    raw = {name: context.catalog.load(name) for name in names}
    parameters = CleaningParameters.model_validate(context.params["cleaning"])
    return count_in_bucket(**raw, parameters=parameters, fingerprints=fingerprints)


def _configured_lake(env: str | None, conf_source: str | None) -> Lake:
    with settings.SESSION_CLASS.create(env=env, conf_source=conf_source) as session:
        lake: Lake = session.load_context().catalog.load("lake")
        return lake


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        raise click.ClickException(message.replace("\n", "\nError: ")) from error


def _selected(names: list[str]) -> Pipeline:
    """Return the named pipelines combined; the default pipeline if there is no name."""
    for name in names:
        if name not in registered:
            close = difflib.get_close_matches(name, registered, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.ClickException(
                f"There is no pipeline '{name}'. Choose from {', '.join(sorted(registered))}.{hint}"
            )
    return sum((registered[name] for name in names or ["__default__"]), start=Pipeline([]))


def _full_names(names: Iterable[str], pipeline: Pipeline) -> list[str]:
    """Return node names with the stage as a prefix, as Kedro's filters expect them."""
    full = {name: name for name in (node.name for node in pipeline.nodes)}
    full |= {name.rpartition(".")[2]: name for name in full}
    for name in names:
        if name not in full:
            candidates = [known for known in full if ("." in known) == ("." in name)]
            close = difflib.get_close_matches(name, candidates, n=3)
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


def _message(error: BaseException) -> str | None:
    """Return the message for an error of the user or the environment, None for a bug."""
    from fb_marketplace_serving.ann.faiss_index import IndexMismatchError
    from fb_marketplace_serving.release.manifest import ReleaseError

    chain = list(cause_chain(error))
    for cause in chain:
        if isinstance(cause, UserError | ReleaseError | IndexMismatchError):
            return redact_credentials(str(cause))
    remedy = advice(error)
    is_expected = (
        remedy
        or isinstance(chain[-1], USER_ERRORS)
        or any(_is_from(cause, "botocore.", "pandas.errors") for cause in chain)
        or str(error).startswith("Pipeline ")
    )
    if not is_expected:
        return None
    logger.debug("printed in one line", exc_info=error)
    return f"{one_line(error)}{f'; {remedy}' if remedy else ''}"


def _is_from(error: BaseException, *modules: str) -> bool:
    """Check whether a library defines the class of an error, without importing the library."""
    return any(base.__module__.startswith(modules) for base in type(error).__mro__)
