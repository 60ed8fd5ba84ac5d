"""The regular work beside executions: retention, and e-mails about limits."""
