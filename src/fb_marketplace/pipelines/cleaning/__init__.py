"""The bucket as it is, made into tables and photos that can be trusted; every loss accounted for."""
