"""Work whose cost a stranger chooses: small here, beside others; larger in a child process with limits of its own."""
