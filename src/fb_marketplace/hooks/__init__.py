"""Kedro hooks: preflight, versioning and run reports."""
