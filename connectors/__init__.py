"""What a step can do to the world: one file per connector. Imports nothing of Django."""
