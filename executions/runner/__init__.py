"""Walks a definition for one execution: pure, no SQL."""
