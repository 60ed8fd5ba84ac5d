"""How a request, or the clock, becomes an execution."""
