"""Release stage: gate, manifest and publication."""
