"""Signing in and passwords: what guessing costs, one's own password, the link that sets a forgotten one."""
