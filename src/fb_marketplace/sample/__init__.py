"""The embedded marketplace: listings and photos drawn from a seed, dirt included."""
