"""Kedro hooks: preflight checks, versions and run reports."""
