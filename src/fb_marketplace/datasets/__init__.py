"""The catalog datasets that Kedro lacks."""
