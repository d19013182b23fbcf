from django.apps import AppConfig

from fleetsite.celery import app as celery_app

__all__ = ["FleetsiteConfig", "celery_app"]


class FleetsiteConfig(AppConfig):
    name = "fleetsite"
