"""Backups: a folder with the database as it was at one moment, a manifest and, on request, the keys."""
