"""Settings of the Kedro project."""

import os

from omegaconf.resolvers import oc

from fb_marketplace.hooks.preflight import PreflightHooks
from fb_marketplace.hooks.raw_tables import RawTableHooks
from fb_marketplace.hooks.reporting import ReportingHooks
from fb_marketplace.hooks.tracking import TrackingHooks
from fb_marketplace.hooks.versioning import VersioningHooks
from fb_marketplace_serving.storage.urls import normalize_root

# OpenMP threads that wait for each other should sleep. By default they spin, and training beside other
# processes takes several times as long. libgomp reads the variable when torch or LightGBM is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HOOKS = (RawTableHooks(), PreflightHooks(), ReportingHooks(), VersioningHooks(), TrackingHooks())

# Kedro-Viz writes `.viz/` at every run, but shows nothing from it. `.telemetry` denies consent to
# Kedro-Telemetry, but exists only in a clone: the packaged project would send data.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-viz")

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment overrides only the keys that it contains.
    "merge_strategy": {
        "parameters": "soft",
        "catalog": "soft",
        "globals": "soft",
        "compute": "soft",
    },
    "config_patterns": {"compute": ["compute.yml"]},
    # By default Kedro resolves `oc.env` only in credentials. `root` gives roots one form.
    "custom_resolvers": {"oc.env": oc.env, "root": normalize_root},
}
