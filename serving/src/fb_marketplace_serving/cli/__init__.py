"""Command line of the server."""
