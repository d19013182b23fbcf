"""The agent dies at every point of an update where it touches disk, network or a program."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from fleet_agent import processes
from fleet_agent.errors import PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.processes import Finished
from fleet_agent.updates import release_store
from fleet_agent.updates.hooks import Limits

MAX_STARTS = 4


class Crash(BaseException):
    """No handler of the agent may run as if nothing had happened."""


@dataclass
class Response:
    status_code: int
    headers: dict[str, str]
    content: bytes

    def pieces(self):
        # In two pieces, so that a death comes between them.
        half = len(self.content) // 2
        yield self.content[:half]
        os.fsync(-1)
        yield self.content[half:]


class Points:
    """Counts what the agent does, before and after each step, and fails at one of them."""

    def __init__(self, monkeypatch, book, run):
        self._book = book
        self._run = run
        self.passed = 0
        self.fail_at = None
        self.error = None
        # What does more than to touch the disk has a stand-in.
        for owner, name, *stand_in in (
            # The process dies here, not the machine: nothing has to reach the disk.
            (os, "fsync", lambda handle: None),
            (os, "fchmod"),
            (Path, "replace"),
            (Path, "rename"),
            (Path, "symlink_to"),
            (Path, "unlink"),
            (shutil, "rmtree"),
            (release_store.os, "statvfs"),
            (processes, "run", self._hook),
            (PortalClient, "call", self._call),
            (PortalClient, "file", self._file),
        ):
            real = stand_in[0] if stand_in else getattr(owner, name)
            is_disk = owner not in (processes, PortalClient)
            monkeypatch.setattr(owner, name, self._watched(real, is_disk=is_disk))

    def _watched(self, real, *, is_disk):
        def step(*arguments, **options):
            if is_disk or self.error is None:
                self._pass()
            answer = real(*arguments, **options)
            if self.error is None:
                self._pass()
            return answer

        return step

    def _pass(self):
        if self.fail_at is None:
            return
        self.passed += 1
        if self.passed == self.fail_at:
            raise self.error or Crash

    def _hook(self, arguments, *, variables, **_):
        """Do what the hooks of `update_double` do, without a process for each."""
        hook, version = Path(arguments[0]), variables["FLEET_RELEASE_VERSION"]
        running = self._run / "running"
        is_well = hook.read_text().splitlines()[1] != "exit 1"
        if hook.name == "stop" and running.exists():
            os.remove(running)
        elif hook.name == "start":
            running.write_text(version)
        elif hook.name == "health":
            is_well = is_well and running.exists() and running.read_text() == version
        return Finished(tuple(arguments), 0 if is_well else 1, "", 0.0)

    def _call(self, client, method, path, *, body=None, **_):
        """Reach the portal's double without a network."""
        if method == "GET":
            return dict(self._book.offered() or {})
        status, answer = self._book.report(body)
        if status != 200:
            raise PortalError(str(status), status=status, answer=answer)
        return answer

    @contextlib.contextmanager
    def _file(self, client, url, *, headers, **_):
        wanted = headers.get("Range"), headers.get("If-Range")
        answer = Response(*self._book.part(url.rpartition("/")[2], *wanted))
        yield answer, answer.pieces()

    def arm(self, fail_at, error=None):
        self.passed, self.fail_at, self.error = 0, fail_at, error


@pytest.fixture
def points(monkeypatch, make_device, portal, tmp_path):
    return Points(monkeypatch, portal.updates, tmp_path / "run")


def attempt(device, points, fail_at, error=None):
    """Let the update run until it ends or the agent dies; False when the point never came."""
    points.arm(fail_at, error)
    # The loop goes on after a wait with what it cannot help.
    with contextlib.suppress(Crash, OSError):
        device.turn()
    was_reached = points.passed >= fail_at
    points.arm(None)
    return was_reached


def settle(device):
    """Start the agent again, as often as it takes a short while, and return how it ended."""
    for _ in range(MAX_STARTS):
        device.restart()
        try:
            device.turn()
        except PortalError:
            continue
        state = device.deployment.states.state
        if device.portal.updates.offered() is None and (state is None or state.is_confirmed):
            return
    raise AssertionError(f"not settled: {device.deployment.states.state}")


def look(device, old, new, update_id):
    """Assert that exactly one release runs and that the portal was told the truth."""
    running = (device.run / "running").read_text().strip()
    linked = os.readlink(device.releases / "current")
    assert (running, linked) in [("1.0.0", old.release_id), ("2.0.0", new.release_id)]
    told = device.portal.updates.ends[update_id]
    if told["status"] == "claimed":
        assert running == told["running_version"] == "2.0.0"
    else:
        assert told["status"] in ("failed", "rolled_back")
        assert running == told["running_version"] == "1.0.0"
    names = {path.name for path in device.releases.iterdir() if not path.name.startswith(".")}
    assert {old.release_id, "current"} <= names
    return told["status"]


def every_point(make_device, portal, points, tmp_path, *, error=None, hooks=None):
    """Fail at one point after the other of one update each; return how they ended."""
    device = make_device()
    device.limits = Limits(health_s=0.0, health_pause_s=0.001)
    old = device.release("1.0.0")
    device.install(old)
    kept = tmp_path / "kept"
    shutil.copytree(device.store.state_dir, kept, symlinks=True)
    new = device.release("2.0.0", counter=2, hooks=hooks)
    ends = {}
    for fail_at in count(1):
        update_id = portal.updates.offer_release(new)
        was_reached = attempt(device, points, fail_at, error)
        settle(device)
        ends[fail_at] = look(device, old, new, update_id)
        if not was_reached:
            return ends
        shutil.rmtree(device.store.state_dir)
        shutil.copytree(kept, device.store.state_dir, symlinks=True)
        (device.run / "running").write_text("1.0.0")
        device.restart()
    return ends


def test_death_at_any_point_leaves_one_release_running_and_a_true_report(
    make_device, portal, points, tmp_path
):
    ends = every_point(make_device, portal, points, tmp_path)

    assert len(ends) > 100
    assert set(ends.values()) == {"claimed", "rolled_back", "failed"} - {"rolled_back"}
    assert ends[len(ends)] == "claimed"


def test_death_at_any_point_of_a_bad_release_leaves_the_old_one_running(
    make_device, portal, points, tmp_path
):
    ends = every_point(make_device, portal, points, tmp_path, hooks={"health": "exit 1"})

    assert len(ends) > 100
    assert set(ends.values()) == {"rolled_back", "failed"}
    assert ends[len(ends)] == "rolled_back"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_at_any_point_leaves_one_release_running_and_a_true_report(
    make_device, portal, points, tmp_path, number
):
    ends = every_point(
        make_device, portal, points, tmp_path, error=OSError(number, os.strerror(number))
    )

    assert len(ends) > 30
    assert ends[len(ends)] == "claimed"
