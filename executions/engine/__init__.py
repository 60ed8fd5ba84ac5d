"""Claims executions and runs hundreds of them at once in each worker."""
