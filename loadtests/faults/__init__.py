"""Faults put into a build on purpose, to see whether the gate finds them."""
