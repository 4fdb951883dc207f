"""A release on a real cluster: installed, upgraded, rolled back, scaled, killed and drained under load. README.md says how to run it."""
