"""The Execution Log and the pages beside it."""
