"""The HTTP connection: limits on headers, time and number of connections; start and stop of the process."""
