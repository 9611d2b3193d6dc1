"""Generation of sample data in a local, empty raw folder."""
