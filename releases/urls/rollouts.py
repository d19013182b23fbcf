from typing import Any

from django.urls import path

from releases import converters  # noqa: F401 - makes <version:…> known
from releases.api import calendars, release_acts, rollout_acts, rollouts, simulations

ROLLOUTS: list[Any] = [
    path("rollouts", rollouts.Rollouts.as_view(), name="rollouts"),
    path("rollouts/preview", simulations.RolloutPreview.as_view(), name="rollouts-preview"),
    path("rollouts/simulate", simulations.Simulate.as_view(), name="rollouts-simulate"),
    path(
        "rollouts/<uuid:pk>/simulation",
        simulations.RolloutSimulation.as_view(),
        name="rollout-simulation",
    ),
    path("rollouts/<uuid:pk>", rollouts.RolloutView.as_view(), name="rollout"),
    path("rollouts/<uuid:pk>/targets", rollouts.RolloutTargets.as_view(), name="rollout-targets"),
    path("rollouts/<uuid:pk>/events", rollouts.RolloutEvents.as_view(), name="rollout-events"),
    path("rollouts/<uuid:pk>/start", rollout_acts.StartRollout.as_view(), name="rollout-start"),
    path(
        "rollouts/<uuid:pk>/approve", rollout_acts.ApproveRollout.as_view(), name="rollout-approve"
    ),
    path("rollouts/<uuid:pk>/pause", rollout_acts.PauseRollout.as_view(), name="rollout-pause"),
    path("rollouts/<uuid:pk>/resume", rollout_acts.ResumeRollout.as_view(), name="rollout-resume"),
    path(
        "rollouts/<uuid:pk>/promote", rollout_acts.PromoteRollout.as_view(), name="rollout-promote"
    ),
    path("rollouts/<uuid:pk>/halt", rollout_acts.HaltRollout.as_view(), name="rollout-halt"),
    path(
        "rollouts/<uuid:pk>/rollback",
        rollout_acts.RollbackRollout.as_view(),
        name="rollout-rollback",
    ),
    path(
        "rollouts/<uuid:pk>/holdback/release",
        rollout_acts.ReleaseHoldback.as_view(),
        name="rollout-holdback-release",
    ),
    path("rollouts/<uuid:pk>/drill", rollout_acts.DrillRollout.as_view(), name="rollout-drill"),
    path(
        "releases/<version:version>/promote",
        release_acts.PromoteRelease.as_view(),
        name="release-promote",
    ),
    path(
        "releases/<version:version>/pause",
        release_acts.PauseRelease.as_view(),
        name="release-pause",
    ),
    path(
        "releases/<version:version>/resume",
        release_acts.ResumeRelease.as_view(),
        name="release-resume",
    ),
    path(
        "releases/<version:version>/rollback",
        release_acts.RollbackRelease.as_view(),
        name="release-rollback",
    ),
    path("site-calendars", calendars.SiteCalendars.as_view(), name="site-calendars"),
    path("site-calendars/<uuid:pk>", calendars.SiteCalendarView.as_view(), name="site-calendar"),
]
