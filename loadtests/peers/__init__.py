"""Reference servers that do the work of the API, bare: what the benchmark compares it with."""
