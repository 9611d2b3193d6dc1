"""Kedro hooks: preflight checks, versions, run reports and experiment tracking."""
