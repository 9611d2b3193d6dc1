"""Progress, peak memory, run reports, library versions and log filters."""
