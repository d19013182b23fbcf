"""Add a device: a token, the line to copy, and word when the device has arrived."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from accounts.policy import Action
from accounts.principals import Principal
from common import clock, limits
from console.forms import EnrollForm
from console.views.agent import newest_wheel
from console.views.base import allowed, page, visible
from devices.models import DeviceEvent, DeviceGroup, EnrollmentToken
from devices.services import enrollment

FOLDER = "/opt/fleet-agent"
SHOWN = 20


def _is_loopback(address: str) -> bool:
    return urlsplit(address).hostname in {"127.0.0.1", "localhost", "::1"}


def _address(request: HttpRequest) -> str:
    """Return where devices reach the portal.

    FLEET_URL counts. Left at this machine's own loopback, it reaches no other machine: then the
    address of the browser is the better guess.
    """
    own = str(settings.FLEET_URL)
    return request.build_absolute_uri("/").rstrip("/") if _is_loopback(own) else own


# What stored scripts and updates need on the device; both are off until its owner allows them.
EXTRAS = "[scripts,updates]"


def commands_for(*, address: str, secret: str, wheel: str | None) -> dict[str, str]:
    """Return the lines to copy: one to try it out, one for a service that stays.

    The token goes in through standard input, so that no list of processes shows it.
    """
    agent = f"'fleet-agent{EXTRAS} @ {address}/agent/{wheel}'" if wheel else f"'./agent{EXTRAS}'"
    install = f"sudo python3 -m venv {FOLDER} && sudo {FOLDER}/bin/pip install -q {agent}"
    enroll = f"echo {secret} | sudo {FOLDER}/bin/fleet-agent enroll --url {address} --token-file -"
    unit = f"{address}/agent/fleet-agent.service"
    fetch = (
        f"sudo {FOLDER}/bin/python -c \"import requests; print(requests.get('{unit}').text)\""
        " | sudo tee /etc/systemd/system/fleet-agent.service >/dev/null"
        if wheel
        else "sudo cp agent/systemd/fleet-agent.service /etc/systemd/system/"
    )
    start = "sudo systemctl daemon-reload && sudo systemctl enable --now fleet-agent"
    return {
        "service": f"{install} && {enroll} && {fetch} && {start}",
        "once": f"{install} && {enroll} && sudo {FOLDER}/bin/fleet-agent run",
    }


def add_device(request: HttpRequest) -> HttpResponse:
    """Ask how many devices and for how long; then show the line, once."""
    principal = allowed(request, Action.ENROLLMENT_TOKEN_MANAGE, acting=True)
    form = EnrollForm(request.POST or None)
    group: Any = form.fields["group"]
    group.queryset = DeviceGroup.objects.visible_to(principal).order_by("name")
    context: dict[str, Any] = {
        "title": "Add a device",
        "content_title": "Add a device",
        "form": form,
        "has_wheel": newest_wheel() is not None,
    }
    if request.method == "POST" and form.is_valid():
        context |= _issue(request, principal, form.cleaned_data)
    return page(request, "console/add_device.html", context)


def _issue(request: HttpRequest, principal: Principal, wanted: dict[str, Any]) -> dict[str, Any]:
    now = clock.now()
    token, secret = enrollment.enrollment_token_issue(
        organization=principal.acting_organization(),
        name=wanted["name"],
        ttl=timedelta(seconds=wanted["ttl"]),
        max_uses=wanted["uses"],
        group=wanted["group"],
        actor=principal,
        now=now,
    )
    wheel = newest_wheel()
    address = _address(request)
    return {
        "token": token,
        "secret": secret,
        "address": address,
        "only_here": _is_loopback(address),
        "lines": commands_for(address=address, secret=secret, wheel=wheel.name if wheel else None),
        "arrivals_url": reverse("console:arrivals", args=[token.pk]),
    }


def arrivals(request: HttpRequest, pk: UUID) -> JsonResponse:
    """Return the devices that have come in since the token was made, and what is left of it."""
    principal = allowed(request, Action.ENROLLMENT_TOKEN_MANAGE)
    token: EnrollmentToken = visible(EnrollmentToken.objects, principal, pk)
    return JsonResponse(
        {"uses": token.uses, "max_uses": token.max_uses, "devices": _arrived(principal, token)}
    )


def _arrived(principal: Principal, token: EnrollmentToken) -> list[dict[str, str]]:
    """Return the devices whose history says that they came in with this token."""
    # Ids of events begin with their time, so the primary key finds what is newer than the token.
    first = UUID(int=int(token.created_at.timestamp() * 1_000) << 80)
    events = DeviceEvent.objects.visible_to(principal).filter(
        pk__gte=first,
        kind="registration",
        message=f"Enrolled by enrolment token {token.name}"[: limits.LINE_CHARS],
    )
    return [
        {
            "device_id": event.device.device_id,
            "url": reverse("console:device", args=[event.device_id]),
        }
        for event in events.select_related("device").order_by("pk")[:SHOWN]
    ]
