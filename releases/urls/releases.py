from typing import Any

from django.urls import path

from releases import converters  # noqa: F401 - makes <version:…> and <role:…> known
from releases.api import artifacts, releases

RELEASES: list[Any] = [
    path("releases", releases.Releases.as_view(), name="releases"),
    path("releases/latest", releases.LatestRelease.as_view(), name="releases-latest"),
    path("releases/<version:version>", releases.ReleaseDetail.as_view(), name="release"),
    path(
        "releases/<version:version>/validate",
        artifacts.ValidateRelease.as_view(),
        name="release-validate",
    ),
    path(
        "releases/<version:version>/publish",
        releases.PublishRelease.as_view(),
        name="release-publish",
    ),
    path(
        "releases/<version:version>/withdraw",
        releases.WithdrawRelease.as_view(),
        name="release-withdraw",
    ),
    path(
        "releases/<version:version>/artifacts/<role:role>/bundle",
        artifacts.ArtifactUpload.as_view(),
        name="release-bundle",
    ),
    path(
        "releases/<version:version>/artifacts/<role:role>/parts",
        artifacts.ArtifactPart.as_view(),
        name="release-parts",
    ),
    path("artifacts/validate", artifacts.ArtifactValidate.as_view(), name="artifacts-validate"),
    path("artifacts/retention", artifacts.ArtifactRetention.as_view(), name="artifacts-retention"),
]
