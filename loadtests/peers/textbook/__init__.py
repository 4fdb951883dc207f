"""Items the ordinary FastAPI way."""
