"""One component a concern: what it makes, and what others may ask of it."""
