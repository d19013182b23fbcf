"""The admin as the console: rows by `visible_to`, rights by the policy, writes by services."""

from functools import update_wrapper
from typing import Any, ClassVar
from urllib.parse import unquote

from django.contrib import admin, messages
from django.contrib.auth import logout as end_session
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import (
    BadRequest,
    FieldDoesNotExist,
    PermissionDenied,
    ValidationError,
)
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.sites import UnfoldAdminSite
from unfold.views import ChangeList

from accounts.admin_lists import (
    PortalChangeList,
    VisibleAutocompleteFilter,
    VisibleRelatedFilter,
    parameters_of,
)
from accounts.admin_requests import own_path, principal_of
from accounts.policy import Action
from accounts.principals import Principal
from common import limits
from common.errors import DomainError

# An entrance that would show rows past `visible_to`.
_CLOSED = {"view_on_site"}


class PortalAdminSite(UnfoldAdminSite):
    """The one admin site. Classes that do not keep tenants apart are not let in."""

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        # It deletes past the services, without an entry in the audit log.
        self.disable_action("delete_selected")

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take in tenant-aware classes only; the ones libraries bring stay out."""
        if admin_class is not None and issubclass(admin_class, TenantModelAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in active people with a role where they act, and owners of the installation."""
        principal: Principal | None = getattr(request, "principal", None)
        if principal is None or not request.user.is_active:
            return False
        return principal.role is not None or bool(request.user.is_superuser)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Refuse a query no column could hold, before anything reads it."""
        inner = super().admin_view(view, cacheable)

        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if "\x00" in unquote(request.META.get("QUERY_STRING", "")):
                raise BadRequest("The query holds the NUL character.")
            answer: HttpResponseBase = inner(request, *args, **kwargs)
            return answer

        return update_wrapper(checked, inner)

    def get_urls(self) -> list[Any]:
        """Leave out the paths that reach any row of any model."""
        return [url for url in super().get_urls() if getattr(url, "name", None) not in _CLOSED]

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send strangers to the sign-in page, and tell people without a role what to do."""
        wanted = own_path(request, request.GET.get("next", "")) or reverse("admin:index")
        if not request.user.is_authenticated:
            return redirect_to_login(wanted, reverse("account_login"))
        if self.has_permission(request):
            return HttpResponseRedirect(wanted)
        context = {**self.each_context(request), "title": "No access"}
        return TemplateResponse(request, "console/no_access.html", context, status=403)

    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """End the session; a link followed by mistake does not."""
        if request.method == "POST":
            end_session(request)
            return redirect("account_login")
        return redirect("account_logout")

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Leave it to the account pages, which ask for the present password."""
        return redirect("account_change_password")

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Find nothing: the theme keeps what it finds for a person, not for an organisation."""
        return HttpResponse()

    def app_index(
        self,
        request: HttpRequest,
        app_label: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The sidebar is the index."""
        return redirect("admin:index")


def _refused(form: Any, refusal: DomainError) -> Any:
    """Return a form that never is valid: the sentence of the refusal stands above its fields."""

    class Refused(form):
        def clean(self) -> Any:
            cleaned = super().clean()
            self.add_error(None, refusal.message)
            return cleaned

    return Refused


class TenantModelAdmin(ModelAdmin):
    """Base of every admin class of the portal.

    `rights` names the right each verb needs; a verb that is not named is allowed to nobody.
    A form writes by `service_create` and `service_update`, which call one service each.
    """

    rights: ClassVar[dict[str, Action]] = {}

    list_per_page = limits.PAGE_SIZE
    list_max_show_all = limits.PAGE_SIZE_MAX
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True
    save_as = False
    warn_unsaved_form = True

    def holds(self, request: HttpRequest, verb: str) -> bool:
        """Say whether the role holds the right for `verb`; acting needs one organisation."""
        principal: Principal | None = getattr(request, "principal", None)
        if principal is None or verb not in self.rights:
            return False
        if verb != "view" and principal.organization is None:
            return False
        return principal.may(self.rights[verb])

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "view")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.holds(request, "view")

    def has_add_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return self.holds(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.holds(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.holds(request, "delete")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Rows the person may see; a model without `visible_to` is an error, not a leak."""
        rows: models.QuerySet[Any] = super().get_queryset(request).visible_to(principal_of(request))
        return rows

    def get_field_queryset(
        self, db: str | None, db_field: Any, request: HttpRequest
    ) -> models.QuerySet[Any]:
        """Narrow what foreign-key and many-to-many fields offer and accept."""
        manager = db_field.remote_field.model._default_manager
        rows: models.QuerySet[Any] = manager.visible_to(principal_of(request))
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PortalChangeList

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer one way to save."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Give every filter over a relation the narrowed choices."""
        return [self._narrowed(item) for item in super().get_list_filter(request)]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Take from the address what the list's filters read, and no other column or operator."""
        return lookup in {
            name for item in self.get_list_filter(request) for name in parameters_of(item)
        }

    def _narrowed(self, item: Any) -> Any:
        if isinstance(item, tuple) and item[1] is AutocompleteSelectFilter:
            return (item[0], VisibleAutocompleteFilter)
        if not isinstance(item, str):
            return item
        try:
            field = self.opts.get_field(item)
        except FieldDoesNotExist:
            return item
        return (item, VisibleRelatedFilter) if field.is_relation else item

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Run the action; keys that are none select nothing."""
        try:
            return super().response_action(request, queryset)
        except ValidationError:
            self.message_user(request, "The selection cannot be read.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save the form; a refusal undoes everything and stands in the form as typed."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as refusal:
            request.refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form; after a refusal one that says it."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        refusal: DomainError | None = getattr(request, "refusal", None)
        return form if refusal is None else _refused(form, refusal)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Ask, then delete; a refusal becomes a message."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except DomainError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Hand what the person entered or changed to the service.

        Columns the form does not show stay as they are: a heartbeat may have written them since.
        """
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            self.service_update(request, obj, changes)
        else:
            # The admin builds its link from this key.
            obj.pk = self.service_create(request, obj, form.cleaned_data).pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.service_delete(request, obj)

    def service_create(self, request: HttpRequest, obj: Any, entered: dict[str, Any]) -> Any:
        """Make the row by its service and return it; `obj` may carry a secret to show once."""
        raise PermissionDenied

    def service_update(self, request: HttpRequest, obj: Any, changes: dict[str, Any]) -> None:
        """Write the changed fields by the row's service."""
        raise PermissionDenied

    def service_delete(self, request: HttpRequest, obj: Any) -> None:
        """Delete the row by its service."""
        raise PermissionDenied

    def log_addition(self, *_args: Any) -> None:
        """Django's own log is not kept: services write the audit log."""

    def log_change(self, *_args: Any) -> None:
        """See log_addition."""

    def log_deletions(self, *_args: Any) -> None:
        """See log_addition."""

    def absent(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """Answer for a row that is not there or not theirs: both the same."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(
            request, self.opts, str(object_id)
        )
        return answer

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Lead to the entries of the audit log about the row."""
        row = self.get_object(request, object_id)
        if row is None:
            return self.absent(request, object_id)
        return HttpResponseRedirect(audit_url(row))


def audit_url(row: models.Model) -> str:
    """Return the address of the audit log's entries about a row."""
    query = urlencode({"target_type": row._meta.model_name or "", "target_id": str(row.pk)})
    return f"{reverse('admin:audit_auditentry_changelist')}?{query}"
