"""Whole jobs over whole shots: convert, plan, verify."""
