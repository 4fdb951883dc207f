"""Queries. They never commit, never decide, and know neither HTTP nor schemas."""
