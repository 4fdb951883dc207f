"""The side-by-side benchmark: what the API costs as it ships, beside bare servers that do the same work."""
