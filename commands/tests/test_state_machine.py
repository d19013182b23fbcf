"""Commands under every mix of people, devices, claims and sweeps, against a model in Python.

The services and the gateway's own claim run on the real database. Time passes by moving every
moment of the commands into the past: the claim's clock is the transaction's, which stands still.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import ClassVar

import pytest
from django.db import connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from accounts.policy import Role
from accounts.tests.factories import OrganizationFactory, member
from commands import services
from commands.errors import CommandAlreadyEnded, CommandNotHeld, TransitionRefused
from commands.models import ENDED, TRANSITIONS, Command
from commands.options import Options
from common import clock, limits
from devices.models import DeviceState
from devices.tests.factories import DeviceFactory, token_of
from gateway import claim_statements

EXAMPLES, STEPS, COMMANDS = 110, 100, 7
IN_FLIGHT = ("delivered", "running")
MOMENTS = [
    *("created_at", "expires_at", "not_before", "lease_expires_at", "delivered_at", "started_at"),
    *("finished_at", "run_deadline", "step_deadline", "cancel_requested_at", "cancel_deadline"),
]
SWEEPS = ["expire", "recover_leases", "time_out", "force_cancels", "judge_reconnects"]
pick = st.integers(min_value=0, max_value=COMMANDS - 1)


@dataclass
class Modelled:
    """What a command should be."""

    sequence: int
    priority: int
    disruptive: bool
    retries: dict[str, int]
    backoff_s: int
    run_timeout_s: int
    reconnect: str
    created_at: datetime
    expires_at: datetime
    status: str = "queued"
    attempt: int = 0
    held: bool = False
    stopping: bool = False
    not_before: datetime | None = None
    lease: datetime | None = None
    run_deadline: datetime | None = None
    step_deadline: datetime | None = None
    cancel_deadline: datetime | None = None
    # How each attempt ended, and how many of them by failure class.
    outcomes: dict[int, str] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)

    @property
    def in_flight(self) -> bool:
        return self.status in IN_FLIGHT

    def leave(self, status: str, outcome: str) -> None:
        """Go from where it is to the queue or to an end."""
        if self.in_flight:
            self.outcomes[self.attempt] = outcome
        self.status = status
        self.lease = self.run_deadline = self.step_deadline = None
        if status != "queued":
            self.cancel_deadline = None
            self.held = False


class Lives(RuleBasedStateMachine):
    """One device and its commands."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        organization = OrganizationFactory()
        self.actor = member(organization, Role.OPERATOR)
        self.device = DeviceFactory(organization=organization, state__health="healthy")
        self.credential = sha256(token_of(self.device).encode()).digest()
        self.still = clock.now()
        self.passed = timedelta(0)
        self.rows: list[Command] = []
        self.models: list[Modelled] = []
        self.seen_at = self.still
        DeviceState.objects.filter(device=self.device).update(last_seen=self.still)

    @property
    def now(self) -> datetime:
        """The model's clock; the database's stands still."""
        return self.still + self.passed

    def chosen(self, index: int) -> tuple[Command, Modelled]:
        index %= len(self.rows)
        return self.rows[index], self.models[index]

    @precondition(lambda self: len(self.rows) < COMMANDS)
    @rule(
        priority=st.sampled_from([-50, 0, 0, 50]),
        kind=st.sampled_from(["ping", "reboot"]),
        retries=st.fixed_dictionaries(
            {name: st.integers(0, 2) for name in ("network", "timeout", "failed")}
        ),
        ttl=st.sampled_from([30, 300, 3000]),
        run_timeout=st.sampled_from([20, 200]),
        reconnect=st.sampled_from(["run", "drop", "ask"]),
    )
    def queue(self, priority, kind, retries, ttl, run_timeout, reconnect):
        options = Options(
            priority=priority,
            expires_in_s=ttl,
            run_timeout_s=run_timeout,
            retries=retries,
            retry_backoff_s=8,
            reconnect=reconnect,
            reconnect_after_s=60,
        )
        who = {"device": self.device, "actor": self.actor, "now": self.still}
        row = services.command_queue(kind=kind, payload={}, options=options, **who)
        assert row.sequence == len(self.rows) + 1
        self.rows.append(row)
        self.models.append(
            Modelled(
                sequence=row.sequence,
                priority=priority,
                disruptive=kind == "reboot",
                retries=retries,
                backoff_s=8,
                run_timeout_s=run_timeout,
                reconnect=reconnect,
                created_at=self.now,
                expires_at=self.now + timedelta(seconds=ttl),
            )
        )

    @rule(most=st.sampled_from([1, 1, 2, 5]))
    def claim(self, most):
        with connection.cursor() as cursor:
            cursor.execute(
                "EXECUTE claims (%s::bytea[], %s::text[], %s::bigint[])",
                [[self.credential], [self.device.device_id], [most]],
            )
            got = [(row[4], row[7]) for row in cursor.fetchall() if row[4]]
        expected = self.claimable()[:most]
        for model in expected:
            model.status, model.attempt = "delivered", model.attempt + 1
            model.lease = self.now + limits.COMMAND_LEASE
        pairs = [(self.rows[model.sequence - 1].pk, model.attempt) for model in expected]
        assert got == pairs

    def claimable(self) -> list[Modelled]:
        """Return what may go, in order: of the disruptive ones the first, when none is out."""
        due = [
            model
            for model in sorted(self.models, key=lambda one: (-one.priority, one.sequence))
            if model.status == "queued" and not model.held and model.expires_at > self.now
            and (model.not_before is None or model.not_before <= self.now)
        ]  # fmt: skip
        busy = any(model.disruptive and model.in_flight for model in self.models)
        first = next((model for model in due if model.disruptive and not busy), None)
        return [model for model in due if not model.disruptive or model is first]

    @precondition(lambda self: self.rows)
    @rule(
        index=pick,
        back=st.sampled_from([0, 0, 0, 0, 1, -1]),
        status=st.sampled_from(
            ["running", "running", "succeeded", "failed", "failed", "rejected", "cancelled"]
        ),
        failure=st.sampled_from(["network", "failed"]),
        step=st.sampled_from([None, None, 5, 500, -1]),
        twice=st.booleans(),
    )
    def report(self, index, back, status, failure, step, twice):
        row, model = self.chosen(index)
        attempt = max(model.attempt - back, 1)
        report = services.Report(
            status=status,
            attempt=attempt,
            failure_class=failure if status == "failed" else "",
            step_timeout_s=step if status == "running" else None,
        )
        fits = model.in_flight and attempt == model.attempt
        if fits and (status != "cancelled" or model.stopping):
            self.say(row, report)
            self.happened(row, model, report)
            if twice:
                self.say(row, report)
        elif not fits and status in ENDED and model.outcomes.get(attempt) == status:
            self.say(row, report)
        else:
            with pytest.raises(TransitionRefused):
                self.say(row, report)

    def say(self, row: Command, report: services.Report) -> None:
        services.command_report(command=row, report=report, actor=self.actor, now=self.still)

    def happened(self, row: Command, model: Modelled, report: services.Report) -> None:
        if report.status == "running":
            if model.status == "delivered":
                model.status, model.lease = "running", None
                model.run_deadline = self.now + timedelta(seconds=model.run_timeout_s)
            self.step(model, report.step_timeout_s)
        elif report.status == "failed":
            self.failed(row, model, report.failure_class, ended="failed")
        else:
            model.leave(report.status, report.status)

    def step(self, model: Modelled, seconds: int | None) -> None:
        if seconds == -1:
            model.step_deadline = None
        elif seconds is not None:
            wanted = self.now + timedelta(seconds=seconds)
            model.step_deadline = min(wanted, model.run_deadline)

    def failed(self, row: Command, model: Modelled, failure: str, *, ended: str) -> None:
        """An attempt failed: another one follows as the policy says, or it has ended."""
        used = model.used.get(failure, 0)
        row.refresh_from_db()
        if row.status == "queued":
            assert used < model.retries[failure]
            assert not model.stopping
            pause = (row.not_before - self.still).total_seconds()
            most = min(model.backoff_s * 2**used, limits.COMMAND_BACKOFF_MAX_S)
            assert most / 2 <= pause <= most
            model.not_before = row.not_before + self.passed
            assert model.not_before < model.expires_at
        else:
            short = model.expires_at - self.now <= timedelta(seconds=model.backoff_s * 2**used)
            assert used >= model.retries[failure] or model.stopping or short
        model.used[failure] = used + 1
        model.leave("queued" if row.status == "queued" else ended, ended)

    @precondition(lambda self: self.rows)
    @rule(index=pick, step=st.sampled_from([None, 5, 500, -1]))
    def renew(self, index, step):
        row, model = self.chosen(index)
        act = {"command": row, "attempt": max(model.attempt, 1), "now": self.still}
        act["step_timeout_s"] = step
        if not model.in_flight:
            with pytest.raises(TransitionRefused):
                services.command_renew(**act)
            return
        services.command_renew(**act)
        if model.status == "running":
            self.step(model, step)
        elif self.now < model.expires_at:
            model.lease = self.now + limits.COMMAND_LEASE

    @precondition(lambda self: self.rows)
    @rule(index=pick, force=st.sampled_from([False, False, True]), wait=st.sampled_from([10, 60]))
    def cancel(self, index, force, wait):
        row, model = self.chosen(index)
        act = {"command": row, "actor": self.actor, "now": self.still}
        act |= {"force": force, "timeout_s": wait}
        if model.status in ENDED:
            with pytest.raises(CommandAlreadyEnded):
                services.command_cancel(**act)
            return
        services.command_cancel(**act)
        if force or model.status == "queued":
            model.leave("cancelled", "cancelled")
        else:
            model.stopping = True
            model.cancel_deadline = self.now + timedelta(seconds=wait)

    @precondition(lambda self: self.rows)
    @rule(index=pick)
    def release(self, index):
        row, model = self.chosen(index)
        act = {"command": row, "actor": self.actor, "now": self.still}
        if model.status == "queued" and model.held and model.expires_at > self.now:
            services.command_release(**act)
            model.held, model.reconnect = False, "run"
        else:
            with pytest.raises(CommandNotHeld):
                services.command_release(**act)

    @rule(seconds=st.sampled_from([1, 5, 10, 30, 61, 400]), heard=st.booleans())
    def time_passes(self, seconds, heard):
        by = timedelta(seconds=seconds)
        self.passed += by
        Command.objects.filter(device=self.device).update(
            **{name: F(name) - by for name in MOMENTS}
        )
        self.seen_at = self.now if heard else self.seen_at
        DeviceState.objects.filter(device=self.device).update(last_seen=self.seen_at - self.passed)

    @precondition(lambda self: self.rows)
    @rule(which=st.sampled_from(SWEEPS))
    def sweep(self, which):
        getattr(self, which)()

    def expire(self):
        services.commands_expire(now=self.still)
        for model in self.models:
            lapsed = model.status == "delivered" and model.lease <= self.now
            if (model.status == "queued" or lapsed) and model.expires_at <= self.now:
                model.leave("expired", "expired")

    def recover_leases(self):
        services.leases_recover(now=self.still)
        for model in self.models:
            lost = model.status == "delivered" and model.lease <= self.now < model.expires_at
            if lost and model.stopping:
                model.leave("cancelled", "cancelled")
            elif lost and model.attempt >= limits.COMMAND_ATTEMPTS_MAX:
                model.leave("timed_out", "timed_out")
            elif lost:
                model.leave("queued", "lost")

    def time_out(self):
        services.runs_time_out(now=self.still)
        for row, model in zip(self.rows, self.models, strict=True):
            timers = [model.run_deadline, model.step_deadline]
            if model.status == "running" and any(at and at <= self.now for at in timers):
                self.failed(row, model, "timeout", ended="timed_out")

    def force_cancels(self):
        services.cancels_force(now=self.still)
        for model in self.models:
            if model.cancel_deadline and model.cancel_deadline <= self.now:
                model.leave("cancelled", "cancelled")

    def judge_reconnects(self):
        services.reconnects_judge(now=self.still)
        late = self.now - timedelta(seconds=60)
        if self.seen_at >= late:
            return
        for model in self.models:
            if model.status == "queued" and not model.held and model.created_at < late:
                if model.reconnect == "drop":
                    model.leave("cancelled", "cancelled")
                model.held = model.held or model.reconnect == "ask"

    @invariant()
    def every_command_is_where_the_model_says(self):
        type(self).steps += 1
        rows = Command.objects.filter(device=self.device).order_by("sequence")
        found = list(rows.values_list("status", "attempt", "disruptive"))
        expected = [(one.status, one.attempt, one.disruptive) for one in self.models]
        assert found == expected
        assert sum(disruptive and status in IN_FLIGHT for status, _, disruptive in found) <= 1

    def teardown(self):
        try:
            for row, model in zip(self.rows, self.models, strict=True):
                self.check_trail(row, model)
        finally:
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    def check_trail(self, row: Command, model: Modelled) -> None:
        """The trail is one unbroken line of allowed steps, and every attempt is told of."""
        line = list(row.events.order_by("pk").values_list("from_status", "to_status"))
        assert line[0] == ("", "queued")
        assert [step[1] for step in line[:-1]] == [step[0] for step in line[1:]]
        assert all(new in TRANSITIONS[old] for old, new in line[1:])
        assert [new for _, new in line if new in ENDED] == (
            [model.status] if model.status in ENDED else []
        )
        attempts = row.attempts.order_by("number").values_list("number", "outcome")
        numbers = range(1, model.attempt + 1)
        assert list(attempts) == [(number, model.outcomes.get(number, "")) for number in numbers]


@pytest.fixture
def claims(db, monkeypatch):
    """The gateway's claim, ready to run; logs and histories have tests of their own."""
    monkeypatch.setattr("audit.services.record", lambda **_: None)
    monkeypatch.setattr("commands.services.reports.event_add", lambda **_: None)
    with connection.cursor() as cursor:
        cursor.execute(claim_statements.CLAIMS.replace("%", "%%"))
        yield
        cursor.execute("DEALLOCATE claims")


@pytest.mark.timeout(300)
def test_no_mix_of_acts_leads_a_command_astray(claims):
    Lives.steps = 0
    run(
        Lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Lives.steps >= 10_000
