"""Release: gate, manifest and publication."""
