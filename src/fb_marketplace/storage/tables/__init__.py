"""Reading of raw tables: unpacking, decoding, and separation of complete rows from torn lines."""
