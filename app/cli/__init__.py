"""The commands of `python -m app` beyond the local stack, one module each."""
