"""What the wire carries. Used by `app.api` and `app.services`."""
