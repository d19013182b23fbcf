"""Organisation settings, people and API keys."""

from datetime import timedelta
from typing import Any, ClassVar, Protocol

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.models import ApiKey, Membership, Organization
from accounts.policy import Action, Role
from accounts.principals import Principal
from accounts.services import organizations as services
from common import clock, limits, markup
from common.errors import DomainError

SECRET = "_secret_to_show"  # noqa: S105 - the name of an attribute


def show_once(
    model_admin: TenantModelAdmin, request: HttpRequest, *, title: str, lead: str, secret: str
) -> HttpResponse:
    """Answer with a page that shows a secret; nothing keeps it, so it appears this once."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "lead": lead,
        "secret": secret,
        "model_admin": model_admin,
        "back": reverse(
            f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist"
        ),
    }
    return TemplateResponse(request, "console/show_once.html", context)


@admin.register(Organization)
class OrganizationAdmin(TenantModelAdmin):
    """The settings of the organisation the person acts in."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.ORGANIZATION_READ,
        "add": Action.ORGANIZATION_CREATE,
        "change": Action.ORGANIZATION_UPDATE,
    }
    list_display = ["name", "slug", "is_active", "created_at"]
    search_fields = ["name", "slug"]
    ordering = ["name"]
    labels: ClassVar[dict[str, str]] = {
        "allow_self_enrollment": "Self-enrolment",
        "heartbeat_interval_s": "Heartbeat every (s)",
        "command_poll_interval_s": "Look for commands every (s)",
        "heartbeat_retention_days": "Keep heartbeats for (days)",
        "batch_approval_above": "Second person above (devices)",
        "bundle_retention_days": "Keep support bundles for (days)",
        "bundle_quota_mb": "Room for support bundles (MB)",
    }
    fieldsets = [
        (None, {"fields": ["name", "slug"]}),
        (
            "Devices",
            {
                "fields": [
                    "allow_self_enrollment",
                    "heartbeat_interval_s",
                    "command_poll_interval_s",
                    "heartbeat_retention_days",
                ]
            },
        ),
        ("Batches", {"fields": ["batch_approval_above"]}),
        ("Support bundles", {"fields": ["bundle_retention_days", "bundle_quota_mb"]}),
    ]

    def has_add_permission(self, request: HttpRequest, *_args: Any) -> bool:
        """Let owners of the installation in, wherever they act."""
        return principal_of(request).may(Action.ORGANIZATION_CREATE)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new organisation needs a name and a slug; the rest has defaults."""
        return self.fieldsets if obj else self.fieldsets[:1]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A slug stays: programs name the organisation by it."""
        return ["slug", "created_at"] if obj else []

    def service_create(
        self, request: HttpRequest, obj: Organization, entered: dict[str, Any]
    ) -> Organization:
        return services.organization_create(
            name=entered["name"], slug=entered["slug"], actor=principal_of(request)
        )

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Name the fields as people do."""
        return super().get_form(request, obj, change, labels=self.labels, **kwargs)

    def service_update(
        self, request: HttpRequest, obj: Organization, changes: dict[str, Any]
    ) -> None:
        # The form has written the new values into `obj`; the service compares with the row.
        kept = Organization.objects.get(pk=obj.pk)
        services.organization_update(
            organization=kept, changes=changes, actor=principal_of(request)
        )


class Grants(Protocol):
    """What a higher floor adds to the form of a person: which sets of devices are theirs."""

    def choices(self, principal: Principal) -> models.QuerySet[Any]: ...
    def current(self, membership: Membership) -> list[Any]: ...
    def save(self, membership: Membership, chosen: list[Any], actor: Principal) -> None: ...


class NewMemberForm(forms.ModelForm):
    """A person to add: a new one gets a first password, a known one keeps theirs."""

    email = forms.EmailField(label="E-mail", max_length=254, widget=UnfoldAdminEmailInputWidget())
    name = forms.CharField(
        label="Name",
        max_length=limits.NAME_CHARS,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Taken only for a person who has no account yet.",
    )

    class Meta:
        model = Membership
        fields = ["role", "limited_to_groups"]


class MemberForm(forms.ModelForm):
    """What a person is here."""

    granted: Any = forms.ModelMultipleChoiceField(
        label="Granted device groups",
        queryset=None,
        required=False,
        widget=UnfoldAdminSelectMultipleWidget(),
        help_text="Counts for a person limited to groups: they see and act on these devices only.",
    )

    # Set on the class the admin makes for one request.
    granted_choices: Any = None
    granted_now: ClassVar[list[Any]] = []

    class Meta:
        model = Membership
        fields = ["role", "limited_to_groups"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "granted" in self.fields:
            field: Any = self.fields["granted"]
            field.queryset = self.granted_choices
            self.initial["granted"] = self.granted_now


@admin.register(Membership)
class MembershipAdmin(TenantModelAdmin):
    """The people of the organisation and what they may do."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.USER_READ,
        "add": Action.USER_MANAGE,
        "change": Action.USER_MANAGE,
        "delete": Action.USER_MANAGE,
    }
    # Filled in by the floor that knows device groups.
    grants: ClassVar[Grants | None] = None

    list_display = [
        "person",
        "full_name",
        "role_badge",
        "limited_to_groups",
        "last_sign_in",
        "since",
    ]
    list_filter = ["role", "limited_to_groups"]
    list_select_related = ["user", "organization"]
    search_fields = ["user__email", "user__name"]
    ordering = ["user__email"]

    @display(description="Person", ordering="user__email")
    def person(self, row: Membership) -> str:
        return row.user.email

    @display(description="Name", ordering="user__name")
    def full_name(self, row: Membership) -> str:
        return row.user.name or markup.NOTHING

    @display(description="Role", ordering="role")
    def role_badge(self, row: Membership) -> str:
        return markup.badge(f"role-{row.role}", row.get_role_display())

    @display(description="Last sign-in", ordering="user__last_login")
    def last_sign_in(self, row: Membership) -> str:
        return markup.moment(row.user.last_login, nothing="never")

    @display(description="Member since", ordering="created_at")
    def since(self, row: Membership) -> str:
        return markup.moment(row.created_at)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """A new person by e-mail; a known one with their groups."""
        kwargs["form"] = MemberForm if obj else NewMemberForm
        form = super().get_form(request, obj, change, **kwargs)
        if obj and self.grants is not None:
            form.granted_choices = self.grants.choices(principal_of(request))
            form.granted_now = self.grants.current(obj)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for the address first; the address of a known person never changes here."""
        if obj is None:
            return [(None, {"fields": ["email", "name", "role", "limited_to_groups"]})]
        shown = ["person", "full_name", "role", "limited_to_groups"]
        if self.grants is not None and self.has_change_permission(request, obj):
            shown.append("granted")
        return [(None, {"fields": shown})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["person", "full_name"] if obj else []

    def service_create(
        self, request: HttpRequest, obj: Membership, entered: dict[str, Any]
    ) -> Membership:
        principal = principal_of(request)
        membership, password = services.member_add(
            organization=principal.acting_organization(), actor=principal, **entered
        )
        setattr(obj, SECRET, password)
        return membership

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the first password; a person with an account has theirs."""
        password = getattr(obj, SECRET)
        email = request.POST.get("email", "")
        return show_once(
            self,
            request,
            title="First password",
            lead=f"Give {email} this password, and let them change it after signing in. Somebody"
            " who has an account already signs in with the password they have.",
            secret=password,
        )

    def service_update(
        self, request: HttpRequest, obj: Membership, changes: dict[str, Any]
    ) -> None:
        principal = principal_of(request)
        chosen = changes.pop("granted", None)
        # The form has written the new values into `obj`; the service compares with the row.
        kept = Membership.objects.select_related("user", "organization").get(pk=obj.pk)
        services.member_update(membership=kept, changes=changes, actor=principal)
        if chosen is not None and self.grants is not None:
            self.grants.save(kept, list(chosen), principal)

    def service_delete(self, request: HttpRequest, obj: Membership) -> None:
        services.member_remove(membership=obj, actor=principal_of(request))


class ApiKeyForm(forms.ModelForm):
    """A key to issue."""

    days = forms.IntegerField(
        label="Valid for days",
        min_value=1,
        max_value=3_650,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: until it is revoked.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "role"]


@admin.register(ApiKey)
class ApiKeyAdmin(TenantModelAdmin):
    """Programs that act for the organisation."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.API_KEY_MANAGE,
        "add": Action.API_KEY_MANAGE,
        "revoke": Action.API_KEY_MANAGE,
    }
    form = ApiKeyForm
    list_display = ["name", "prefix", "role_badge", "state", "used", "ends", "made"]
    list_filter = ["role"]
    list_select_related = ["organization"]
    search_fields = ["name", "prefix"]
    ordering = ["-created_at"]
    actions = ["revoke_selected"]
    fields = ["name", "prefix", "role", "state", "used", "ends", "made"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "revoke")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.fields if obj else ["name", "role", "days"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.fields if obj else []

    @display(description="Role", ordering="role")
    def role_badge(self, row: ApiKey) -> str:
        return markup.badge(f"role-{row.role}", row.get_role_display())

    @display(description="State")
    def state(self, row: ApiKey) -> str:
        if row.revoked_at:
            return markup.badge("revoked")
        expired = row.expires_at is not None and row.expires_at <= timezone.now()
        return markup.badge("expired" if expired else "usable")

    @display(description="Last used", ordering="last_used_at")
    def used(self, row: ApiKey) -> str:
        return markup.moment(row.last_used_at, nothing="never")

    @display(description="Expires", ordering="expires_at")
    def ends(self, row: ApiKey) -> str:
        return markup.moment(row.expires_at, nothing="never")

    @display(description="Issued", ordering="created_at")
    def made(self, row: ApiKey) -> str:
        return markup.moment(row.created_at)

    def service_create(self, request: HttpRequest, obj: ApiKey, entered: dict[str, Any]) -> ApiKey:
        principal = principal_of(request)
        days = entered["days"]
        key, secret = services.api_key_issue(
            organization=principal.acting_organization(),
            name=entered["name"],
            role=entered["role"],
            expires_at=clock.now() + timedelta(days=days) if days else None,
            actor=principal,
        )
        setattr(obj, SECRET, secret)
        return key

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret; only its digest is kept."""
        return show_once(
            self,
            request,
            title="API key",
            lead=f"Send it as X-API-Key. “{obj.name}” acts here as {Role(obj.role).label}.",
            secret=getattr(obj, SECRET),
        )

    @admin.action(permissions=["revoke"], description="Revoke")
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        """End the selected keys at once."""
        principal, now = principal_of(request), clock.now()
        for key in queryset[: limits.PAGE_SIZE_MAX]:
            try:
                services.api_key_revoke(key=key, actor=principal, now=now)
            except DomainError as refusal:
                self.message_user(request, refusal.message, messages.WARNING)
        self.message_user(request, "The selected keys no longer work.", messages.SUCCESS)
