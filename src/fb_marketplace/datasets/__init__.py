"""Catalog datasets that Kedro does not have."""
