"""Load, benchmarks and profiles of the service."""
