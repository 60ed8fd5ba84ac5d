"""The builder's Test buttons."""
