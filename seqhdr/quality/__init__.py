"""Measuring what a model does, identity beside it."""
