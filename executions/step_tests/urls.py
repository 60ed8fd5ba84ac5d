"""The addresses of the builder's Test buttons, below an automation's address."""

from __future__ import annotations

from django.urls import path

from executions.step_tests import views

urlpatterns = [
    path("trigger/test/", views.test_trigger, name="test-trigger"),
    path("steps/<slug:key>/test/", views.test_step, name="test-step"),
]
