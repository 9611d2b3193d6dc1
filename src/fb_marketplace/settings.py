"""Settings of the Kedro project."""

from omegaconf.resolvers import oc

from fb_marketplace.hooks.preflight import PreflightHooks
from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.hooks.versioning import VersioningHooks

HOOKS = (PreflightHooks(), ReportingHooks(), VersioningHooks())

# Kedro-Viz writes `.viz/` at every run; nothing that it shows comes from there. Kedro-Telemetry finds
# the consent that `.telemetry` denies only in a clone: the packaged project would send.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-viz")

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment changes only the keys it names.
    "merge_strategy": {"parameters": "soft", "catalog": "soft", "globals": "soft"},
    # Kedro resolves the environment for credentials alone unless told.
    "custom_resolvers": {"oc.env": oc.env},
}
