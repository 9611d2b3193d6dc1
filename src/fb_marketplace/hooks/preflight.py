"""Hook that checks the requirements of a run before any work."""

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from fb_marketplace.diagnostics.doctor import run_checks
from fb_marketplace.diagnostics.requirements import requirements_of
from fb_marketplace.errors import UserError


class PreflightHooks:
    """What a run needs is looked at before any work."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look at what this run needs, and no more.

        Raises:
            UserError: something is wrong; a line for each.
        """
        needs = requirements_of(pipeline.inputs(), pipeline.all_outputs(), catalog)
        wrong = [str(found) for found in run_checks(needs) if found.state == "fails"]
        if wrong:
            raise UserError("\n".join(wrong))
