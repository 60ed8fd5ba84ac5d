"""What is done beside executions: retention, notices about limits."""
