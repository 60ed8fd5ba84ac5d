"""The demo: an organization to look around in, made by `manage.py demo`."""
