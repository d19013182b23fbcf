from django.urls import path

from governance.api import views

urlpatterns = [
    path("audits", views.Audits.as_view(), name="audits"),
    path("audits.csv", views.AuditsCsv.as_view(), name="audits-csv"),
]
