"""Datasets, augmentation and training tasks."""
