from __future__ import annotations

from django.db import models


class Installation(models.Model):
    """The one row that says where this data is at home; a copy of the data says so, too, and is known by it."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    home = models.CharField(max_length=200)  # `projects.home.home()`, or RESTORED
    place = models.TextField()  # the same in words, for people

    RESTORED = "restored"  # no place has this home, so that what `manage.py restore` writes is at home nowhere

    def __str__(self) -> str:
        return self.place
