"""Progress, memory, run reports, summary and log filters."""
