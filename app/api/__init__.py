"""The edge: routes and what they may ask for. HTTP and nothing else; decisions are taken in `app.services`."""
