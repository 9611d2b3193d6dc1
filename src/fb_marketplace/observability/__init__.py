"""Progress, peak memory, run reports, experiment tracking, library versions and log filters."""
