"""The pages on which a builder designs automations."""
