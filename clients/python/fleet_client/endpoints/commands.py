"""Commands: queue, watch, stop, repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional, Sequence

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import Core, given, segment
from fleet_client.endpoints.devices import device_path
from fleet_client.models import (
    Command,
    CommandOptions,
    CommandStatus,
    Output,
    OutputChunk,
    PushBatchResult,
    PushResult,
    Timeline,
    Why,
)
from fleet_client.polling import Deadline, Pace, until
from fleet_client.records import Page
from fleet_client.steps import Flow, Item, Items

if TYPE_CHECKING:
    from typing_extensions import Unpack


def command_path(command_id: str, rest: str = "") -> str:
    """Return the path of a command, or of something below it."""
    return f"/commands/{segment(command_id)}{rest}"


def queued(
    core: Core,
    device_id: str,
    type: Optional[str],
    payload: Optional[Mapping[str, Any]],
    *,
    options: Mapping[str, Any],
    key: Optional[str],
) -> Flow[Command]:
    """Queue a command for a device."""
    body = {**given(type=type, payload=payload), **options}
    return core.read(Command, "POST", device_path(device_id, "/commands"), body=body, key=key)


class CommandEndpoints(Group):
    """`client.commands`."""

    @endpoint
    def queue(
        self,
        /,
        device_id: str,
        type: str,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[CommandOptions],
    ) -> Flow[Command]:
        """Queue a command. What is given for `options` is told in CommandOptions."""
        return queued(
            self.core, device_id, type, payload or {}, options=options, key=idempotency_key
        )

    @endpoint
    def queue_template(
        self,
        /,
        device_id: str,
        template_id: str,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[CommandOptions],
    ) -> Flow[Command]:
        """Queue a command that was saved as a template."""
        named: Mapping[str, Any] = {"template": template_id, **options}
        return queued(self.core, device_id, None, None, options=named, key=idempotency_key)

    @endpoint
    def push(
        self,
        /,
        device_id: str,
        command_type: str,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        request_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        **members: Any,
    ) -> Flow[PushResult]:
        """Queue a command in the form of push services: `protocol`, `metadata`, `qos`, ….

        `request_id`, a UUID, becomes the command's id.
        """
        body = {
            "device_id": device_id,
            "command_type": command_type,
            "payload": payload or {},
            **given(request_id=request_id, **members),
        }
        return self.core.read(PushResult, "POST", "/commands", body=body, key=idempotency_key)

    @endpoint
    def push_batch(
        self,
        commands: Sequence[Mapping[str, Any]],
        *,
        atomic: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[PushBatchResult]:
        """Queue up to 1,000 commands, each judged by itself; with `atomic` all or none."""
        body = given(commands=commands, atomic=atomic)
        return self.core.read(
            PushBatchResult, "POST", "/commands/batch", body=body, key=idempotency_key
        )

    @endpoint
    def list(self, /, *, device_id: Optional[str] = None, **filters: Any) -> Flow[Page[Command]]:
        """Return one page, newest first: `status`, `type`, `search`, `cursor`, `page_size`."""
        return self.core.page(Command, "/commands", params={"device_id": device_id, **filters})

    @listing
    def iterate(self, /, *, device_id: Optional[str] = None, **filters: Any) -> Items[Command]:
        """Give every command, newest first."""
        return self.core.pages(Command, "/commands", params={"device_id": device_id, **filters})

    @endpoint
    def get(self, command_id: str) -> Flow[Command]:
        """Return a command."""
        return self.core.read(Command, "GET", command_path(command_id))

    @endpoint
    def status(self, command_id: str) -> Flow[CommandStatus]:
        """Return where a command is."""
        return self.core.read(CommandStatus, "GET", command_path(command_id, "/status"))

    @endpoint
    def wait(
        self,
        command_id: str,
        timeout: Optional[float] = None,
        *,
        on_change: Optional[Callable[[Command], object]] = None,
    ) -> Flow[Command]:
        """Wait until a command has ended; return it, however it ended.

        Raises WaitTimeout after `timeout` seconds. `on_change` gets the command whenever it moved.
        """
        path = command_path(command_id)
        return until(
            lambda: self.core.read(Command, "GET", path),
            is_done=lambda command: command.is_done,
            describe=lambda command: f"Command {command.id} is {command.status}",
            timeout=timeout,
            on_change=on_change,
        )

    @endpoint
    def cancel(
        self,
        command_id: str,
        *,
        force: Optional[bool] = None,
        timeout_s: Optional[int] = None,
        reason: Optional[str] = None,
        version: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Command]:
        """Ask for the end of a command: at once while it is queued, else the device is asked.

        After `timeout_s` without its answer, or at once with `force`, the portal ends it.
        """
        body = given(force=force, timeout_s=timeout_s, reason=reason, expected_version=version)
        path = command_path(command_id, "/cancel")
        return self.core.read(Command, "POST", path, body=body, key=idempotency_key)

    @endpoint
    def retry(
        self,
        command_id: str,
        *,
        version: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Command]:
        """Queue a copy of a command that ended badly; return the copy."""
        path = command_path(command_id, "/retry")
        body = given(expected_version=version)
        return self.core.read(Command, "POST", path, body=body, key=idempotency_key)

    @endpoint
    def release(
        self,
        command_id: str,
        *,
        version: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Command]:
        """Let a command go that was held for a person's word."""
        path = command_path(command_id, "/release")
        body = given(expected_version=version)
        return self.core.read(Command, "POST", path, body=body, key=idempotency_key)

    @endpoint
    def timeline(self, command_id: str) -> Flow[Timeline]:
        """Return what happened to a command."""
        return self.core.read(Timeline, "GET", command_path(command_id, "/timeline"))

    @endpoint
    def why(self, command_id: str) -> Flow[Why]:
        """Return what a command waits for."""
        return self.core.read(Why, "GET", command_path(command_id, "/why"))

    @listing
    def output(
        self,
        command_id: str,
        *,
        attempt: Optional[int] = None,
        follow: bool = True,
        timeout: Optional[float] = None,
    ) -> Items[OutputChunk]:
        """Give what a command prints, piece by piece; with `follow` until it has ended.

        Without `attempt` it is the newest, and a further attempt begins again with index 0.
        Raises WaitTimeout after `timeout` seconds.
        """
        path = command_path(command_id, "/output")
        pace, deadline = Pace(), Deadline(timeout)
        shown, last = attempt, -1
        while True:
            params = {"attempt": attempt, "after": last if last >= 0 else None}
            seen = yield from self.core.read(Output, "GET", path, params=params)
            if shown is not None and seen.attempt != shown:
                # What was skipped by `after` belonged to the attempt before.
                shown, last = seen.attempt, -1
                continue
            shown = seen.attempt
            for chunk in seen.chunks:
                if chunk.index > last:
                    last = chunk.index
                    pace.reset()
                    yield Item(of_attempt(chunk, seen.attempt))
            if not follow or seen.done:
                return
            yield from deadline.pause(pace.pause_s(), f"Command {command_id} is {seen.status}")


def of_attempt(chunk: OutputChunk, attempt: int) -> OutputChunk:
    """Return the chunk with its attempt."""
    return OutputChunk(
        raw=chunk.raw, index=chunk.index, text=chunk.text, at=chunk.at, attempt=attempt
    )
