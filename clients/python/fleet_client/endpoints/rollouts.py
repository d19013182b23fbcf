"""Rollouts: how a release reaches its devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Optional

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import Core, given, json_of, segment
from fleet_client.following import RolloutNews, followed
from fleet_client.models import (
    Rollout,
    RolloutEvent,
    RolloutPreview,
    RolloutProgress,
    RolloutTarget,
    Simulation,
)
from fleet_client.polling import until
from fleet_client.records import Page
from fleet_client.steps import Flow, Items


def rollout_path(rollout_id: str, rest: str = "") -> str:
    """Return the path of a rollout, or of something below it."""
    return f"/rollouts/{segment(rollout_id)}{rest}"


def moved(
    core: Core, rollout_id: str, verb: str, *, key: Optional[str], **members: Any
) -> Flow[Rollout]:
    """Apply a verb to a rollout."""
    path = rollout_path(rollout_id, f"/{verb}")
    return core.read(Rollout, "POST", path, body=given(**members), key=key)


class Look:
    """Asks for a rollout; `now` is the portal's time of the last answer, to the second."""

    def __init__(self, core: Core, rollout_id: str) -> None:
        self.now = datetime.min.replace(tzinfo=timezone.utc)
        self._core = core
        self._path = rollout_path(rollout_id)

    def __call__(self) -> Flow[Rollout]:
        answer = yield from self._core.ask("GET", self._path)
        try:
            self.now = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, TypeError, ValueError):
            self.now = datetime.now(timezone.utc)
        return Rollout.read(json_of(answer))


class RolloutEndpoints(Group):
    """`client.rollouts`. A release is named by its version or its id.

    A `selection` is one of `{"all": True}`, `{"devices": [ids]}`, `{"group": id or name}`,
    `{"tags": [all of them]}` and `{"filter": {the filters of the list of devices}}`. The members
    of a plan are those of the API: `selection`, `stages`, `holdback_percent`, `rate_per_minute`,
    `concurrency`, `window`, `failure_rules`, `on_halt`, `auto_promote`, …
    """

    @endpoint
    def preview(
        self,
        release: str,
        selection: Optional[Mapping[str, Any]] = None,
        *,
        idempotency_key: Optional[str] = None,
    ) -> Flow[RolloutPreview]:
        """Return whom a rollout would reach. Nothing is changed."""
        body = given(release=release, selection=selection)
        path = "/rollouts/preview"
        return self.core.read(RolloutPreview, "POST", path, body=body, key=idempotency_key)

    @endpoint
    def simulate(
        self, /, release: str, *, idempotency_key: Optional[str] = None, **plan: Any
    ) -> Flow[Simulation]:
        """Return when a plan would reach whom, and how many bytes where. Nothing is changed."""
        body = {"release": release, **given(**plan)}
        return self.core.read(
            Simulation, "POST", "/rollouts/simulate", body=body, key=idempotency_key
        )

    @endpoint
    def create(
        self,
        /,
        release: str,
        *,
        name: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        **plan: Any,
    ) -> Flow[Rollout]:
        """Make a draft; nothing is sent before it is started."""
        body = {"release": release, **given(name=name, **plan)}
        return self.core.read(Rollout, "POST", "/rollouts", body=body, key=idempotency_key)

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Rollout]]:
        """Return one page, newest first: `status`, `release`, `search`."""
        return self.core.page(Rollout, "/rollouts", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Rollout]:
        """Give every rollout, newest first."""
        return self.core.pages(Rollout, "/rollouts", params=filters)

    @endpoint
    def get(self, rollout_id: str) -> Flow[Rollout]:
        """Return a rollout with its plan, its progress and its failures by reason."""
        return self.core.read(Rollout, "GET", rollout_path(rollout_id))

    @endpoint
    def update(
        self, /, rollout_id: str, *, idempotency_key: Optional[str] = None, **members: Any
    ) -> Flow[Rollout]:
        """Change a draft: `name` and the plan's members that are given, and no other."""
        path = rollout_path(rollout_id)
        return self.core.read(Rollout, "PATCH", path, body=members, key=idempotency_key)

    @endpoint
    def delete(self, rollout_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """Throw a draft away."""
        yield from self.core.ask("DELETE", rollout_path(rollout_id), key=idempotency_key)

    @endpoint
    def simulation(
        self, rollout_id: str, *, segment: Optional[str] = None, page: Optional[int] = None
    ) -> Flow[Simulation]:
        """Return what the rollout would do from now on; `segment` adds that stage's devices."""
        params = given(segment=segment, page=page)
        path = rollout_path(rollout_id, "/simulation")
        return self.core.read(Simulation, "GET", path, params=params)

    @listing
    def targets(self, /, rollout_id: str, **filters: Any) -> Items[RolloutTarget]:
        """Give every device of a rollout: `segment`, `state`, `search`."""
        path = rollout_path(rollout_id, "/targets")
        return self.core.pages(RolloutTarget, path, params=filters)

    @listing
    def events(self, /, rollout_id: str, **filters: Any) -> Items[RolloutEvent]:
        """Give a rollout's story, newest first: `kind`, `search`."""
        path = rollout_path(rollout_id, "/events")
        return self.core.pages(RolloutEvent, path, params=filters)

    @endpoint
    def progress(self, rollout_id: str) -> Flow[RolloutProgress]:
        """Return how many devices are where, altogether and by segment."""
        rollout = yield from self.core.read(Rollout, "GET", rollout_path(rollout_id))
        return rollout.progress

    @endpoint
    def start(
        self,
        rollout_id: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Freeze its devices and open the first stage; many devices wait for a second person."""
        return moved(self.core, rollout_id, "start", reason=reason, key=idempotency_key)

    @endpoint
    def approve(
        self, rollout_id: str, *, reason: str, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """Let a rollout go that somebody else made; say why."""
        return moved(self.core, rollout_id, "approve", reason=reason, key=idempotency_key)

    @endpoint
    def pause(
        self,
        rollout_id: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Begin no further update until resumed, and hold what is not installed yet."""
        return moved(self.core, rollout_id, "pause", reason=reason, key=idempotency_key)

    @endpoint
    def resume(
        self,
        rollout_id: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Go on; from a halt only with a reason."""
        return moved(self.core, rollout_id, "resume", reason=reason, key=idempotency_key)

    @endpoint
    def promote(
        self,
        rollout_id: str,
        segment: Optional[str] = None,
        *,
        percentage: Optional[int] = None,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Open a segment's stage, or raise the percentage of the open one; name one of the two.

        Before the soak time is over it takes a reason: else Conflict, `soak_not_over`.
        """
        return moved(
            self.core,
            rollout_id,
            "promote",
            targetSegment=segment,
            rolloutPercentage=percentage,
            reason=reason,
            key=idempotency_key,
        )

    @endpoint
    def halt(
        self, rollout_id: str, *, reason: str, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """Take back what no device has begun; say why."""
        return moved(self.core, rollout_id, "halt", reason=reason, key=idempotency_key)

    @endpoint
    def rollback(
        self, rollout_id: str, *, reason: str, idempotency_key: Optional[str] = None
    ) -> Flow[Rollout]:
        """End a rollout and bring every updated device back; say why."""
        return moved(self.core, rollout_id, "rollback", reason=reason, key=idempotency_key)

    @endpoint
    def release_holdback(
        self,
        rollout_id: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Rollout]:
        """Let the devices in that were held back."""
        verb = "holdback/release"
        return moved(self.core, rollout_id, verb, reason=reason, key=idempotency_key)

    @endpoint
    def drill(self, rollout_id: str, *, idempotency_key: Optional[str] = None) -> Flow[Rollout]:
        """Prove that its rules fire; `drill` of the answer says what was seen."""
        return moved(self.core, rollout_id, "drill", key=idempotency_key)

    @endpoint
    def wait(
        self,
        rollout_id: str,
        timeout: Optional[float] = None,
        *,
        stage: Optional[str] = None,
        on_progress: Optional[Callable[[Rollout], object]] = None,
    ) -> Flow[Rollout]:
        """Wait until a rollout has ended: completed, halted or rolled back; return it.

        With `stage`, a segment, only until that stage's soak time is over and the rollout runs.
        Raises WaitTimeout after `timeout` seconds. `on_progress` gets the rollout whenever its
        status, its stages or its progress changed.
        """
        look = Look(self.core, rollout_id)
        return until(
            look,
            is_done=lambda seen: (
                seen.is_done or (stage is not None and seen.is_past(stage, look.now))
            ),
            describe=lambda seen: f"Rollout {seen.id} is {seen.status}",
            state=lambda seen: (seen.status, seen.stages, seen.progress),
            timeout=timeout,
            on_change=on_progress,
        )

    @listing
    def watch(self, rollout_id: str, timeout: Optional[float] = None) -> Items[RolloutNews]:
        """Give what happens from now on, until the rollout has ended.

        That is RolloutEvent for a line of its story, RolloutStanding for where it stands (the
        first thing and the last), UpdateMove for a step of a device. Each comes within about a
        second; where the portal has no stream to give, the first two within five. Raises
        WaitTimeout after `timeout` seconds, with the next sign of life of the stream.
        """
        return followed(self.core, rollout_id, timeout)
