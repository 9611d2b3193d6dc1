"""Preflight checks of storage, tables, machine and packages."""
