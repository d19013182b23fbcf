from django.urls import path

from commands.api import views

urlpatterns = [
    path("commands", views.Commands.as_view(), name="commands"),
    path("commands/batch", views.CommandBatch.as_view(), name="commands-batch"),
    path("commands/<uuid:pk>/status", views.CommandStatusView.as_view(), name="command-status"),
    path("commands/<uuid:pk>/cancel", views.CancelCommand.as_view(), name="command-cancel"),
    path("commands/<uuid:pk>/retry", views.RetryCommand.as_view(), name="command-retry"),
    path("bundles", views.Bundles.as_view(), name="bundles"),
    path("bundles/<uuid:pk>/download", views.BundleDownload.as_view(), name="bundle-download"),
]
