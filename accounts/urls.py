from django.urls import path

from accounts.api import sign_in, views

urlpatterns = [
    path("auth/token", sign_in.SignIn.as_view(), name="auth-token"),
    path("auth/refresh", sign_in.Refresh.as_view(), name="auth-refresh"),
    path("auth/me", sign_in.Me.as_view(), name="auth-me"),
    path("organizations", views.Organizations.as_view(), name="organizations"),
    path("organizations/<slug:slug>", views.OrganizationDetail.as_view(), name="organization"),
    path("users", views.Users.as_view(), name="users"),
    path("users/<uuid:user_id>", views.UserDetail.as_view(), name="user"),
    path("api-keys", views.ApiKeys.as_view(), name="api-keys"),
    path("api-keys/<uuid:pk>", views.ApiKeyDetail.as_view(), name="api-key"),
]
