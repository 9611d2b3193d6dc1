"""The stages: each a pipeline.py that wires, and the modules that do the work."""
