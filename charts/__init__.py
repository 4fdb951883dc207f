"""The chart, and beside it what writes its schema and README and fetches the tools that test it."""
