"""Generated marketplace: listings and photos from a seed, with planted faults."""
