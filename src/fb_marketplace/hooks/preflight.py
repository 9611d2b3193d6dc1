"""Hook that checks parameters and requirements before any work."""

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from fb_marketplace.compute.ray_engine import RayEngine
from fb_marketplace.compute.shards import use_engine
from fb_marketplace.diagnostics.doctor import run_checks
from fb_marketplace.diagnostics.requirements import requirements_of
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.compute import ComputeParameters
from fb_marketplace.parameters.sections import check_sections


class PreflightHooks:
    """Checks that a run can succeed, before its first node."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check that no section of the parameters has an old name, and set the engine of the run.

        Raises:
            UserError: a section has an old name, or the engine is not available.
        """
        check_sections(context.config_loader["parameters"])
        compute = ComputeParameters.model_validate(context.config_loader["compute"])
        use_engine(RayEngine(**compute.ray.model_dump()) if compute.engine == "ray" else None)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check the requirements of this run.

        Raises:
            UserError: some requirements are not met; the message has one line for each.
        """
        requirements = requirements_of(pipeline.inputs(), pipeline.all_outputs(), catalog)
        failures = [str(result) for result in run_checks(requirements) if result.state == "fails"]
        if failures:
            raise UserError("\n".join(failures))
