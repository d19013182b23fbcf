"""run_script: a script that is stored in the portal, signed, and allowed by the device's owner."""

from __future__ import annotations

import subprocess
import time
from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import (
    CODE_NOT_STARTED,
    RESUME,
    STEP_TIMEOUT_S,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
    interrupted,
)
from fleet_agent.errors import PortalError
from fleet_agent.journal import Entry
from fleet_agent.live import CommandCancelledError
from fleet_agent.redaction import remove_secrets
from fleet_agent.script_document import (
    ScriptDocument,
    check_against_schema,
    check_arguments,
    fetch_script,
    interpreter_path,
)
from fleet_agent.script_job import (
    FINISHED,
    LOST,
    NOT_BEGUN,
    RUNNING,
    ScriptJob,
    job_name,
    safe_environment,
)
from fleet_agent.signing import can_verify

LOOK_S = 0.2
TAIL_BYTES = 64 * 1024
# The runner needs this long to end a script and to write its report.
CANCEL_PATIENCE_S = 20.0


class RunScript(CommandType):
    """Payload: `script`, `version`, `arguments`. Its text comes signed from the portal."""

    name: ClassVar[str] = "run_script"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        if not context.store.settings.allow_scripts:
            raise CommandRefusedError(
                "Running scripts is not allowed on this device. "
                "Set ALLOW_SCRIPTS=true in its fleet.conf to allow it."
            )
        if not can_verify():
            raise CommandRefusedError(
                "This agent cannot check the signature of a script, because the Python package "
                "cryptography is missing. Install fleet-agent[scripts]."
            )
        script, version = payload.get("script"), payload.get("version")
        if not isinstance(script, str) or not script:
            raise CommandRefusedError("script must be the name of a stored script.")
        if isinstance(version, bool) or not isinstance(version, (int, type(None))):
            raise CommandRefusedError(f"version must be a whole number, not {version!r:.80}.")
        arguments = check_arguments(payload.get("arguments") or {})
        return {"script": script, "version": version, "arguments": arguments}

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        return {"boot_id": context.boot_id}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        job = _job(entry, context)
        process = None
        if job.state() == NOT_BEGUN:
            try:
                document = fetch_script(entry.command_id, entry.arguments, context)
                process = _started(job, document, entry)
            except (PortalError, OSError) as error:
                return _not_started(error)
        context.show_output(job.read, kept_in=job.directory / "told.json")
        _watch(job, process, context)
        return _outcome(job, entry)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        job = _job(entry, context)
        if job.state() == NOT_BEGUN:
            # A runner that was just started may still be on its way: one of both comes first.
            if job.give_up():
                job.remove()
                return RESUME
            context.pause(LOOK_S)
        # What has finished is told its output too, so it goes the same way as what still runs.
        return RESUME if job.state() in (RUNNING, FINISHED) else _outcome(job, entry)

    def forget(self, entry: Entry, context: Context) -> None:
        _job(entry, context).remove()


def _job(entry: Entry, context: Context) -> ScriptJob:
    # A new attempt at a script that is under way goes on with the run of the older attempt.
    attempt = int(entry.facts.get("attempt", entry.attempt))
    return ScriptJob(context.state_dir, job_name(entry.command_id, attempt))


def _started(job: ScriptJob, document: ScriptDocument, entry: Entry) -> subprocess.Popen[bytes]:
    arguments = entry.arguments["arguments"]
    check_against_schema(arguments, document.arguments_schema)
    texts = {f"FLEET_ARG_{name.upper()}": _text(value) for name, value in arguments.items()}
    job.prepare(
        body=document.body,
        arguments=arguments,
        job={
            "command": [interpreter_path(document.interpreter)],
            "environment": safe_environment({"FLEET_COMMAND_ID": entry.command_id, **texts}, None),
            "timeout_s": document.timeout_s,
            "output_bytes": document.output_bytes,
        },
    )
    return job.start()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _watch(job: ScriptJob, process: Optional[subprocess.Popen[bytes]], context: Context) -> None:
    """Wait for the runner. It keeps the script's limits itself, so this needs no limit."""
    give_up_at: Optional[float] = None
    while True:
        # Asked before the state: a runner that has ended by now has written its report by now.
        is_over = process is None or process.poll() is not None
        state = job.state()
        if state == FINISHED or (is_over and state != RUNNING):
            return
        if give_up_at is None:
            try:
                context.check_cancelled()
            except CommandCancelledError:
                job.cancel()
                give_up_at = time.monotonic() + CANCEL_PATIENCE_S
        elif time.monotonic() > give_up_at:
            return
        context.pause(LOOK_S)


def _outcome(job: ScriptJob, entry: Entry) -> Outcome:
    if job.state() != FINISHED:
        job.end_orphans()
        found = "the script was cut off" if job.state() == LOST else "the script has not reported"
        return interrupted(found)
    report = job.report()
    order = entry.arguments
    result = {name: order[name] for name in ("script", "version")}
    for name in ("exit_status", "seconds", "output_truncated"):
        result[name] = report.get(name)
    output = remove_secrets(job.tail(TAIL_BYTES))
    ended_by = report.get("ended_by")
    if ended_by == "cancelled":
        error = "Cancelled at the portal's request."
        return Outcome("cancelled", result=result, error=error, output=output)
    if ended_by == "timeout":
        error = f"The script ran out of its time after {report.get('seconds')} s and was ended."
        code = "script_timeout"
        return Outcome("failed", result=result, error=error, output=output, error_code=code)
    if ended_by == "error":
        return _not_started(OSError(str(report.get("detail"))))
    if report.get("exit_status") == 0:
        return Outcome("succeeded", result=result, output=output)
    error = f"The script ended with exit status {report.get('exit_status')}."
    code = "script_failed"
    return Outcome("failed", result=result, error=error, output=output, error_code=code)


def _not_started(error: Exception) -> Outcome:
    kind = "network" if isinstance(error, PortalError) else "failed"
    return Outcome(
        "failed",
        error=f"The script was not started: {error}",
        error_code=CODE_NOT_STARTED,
        failure_class=kind,
    )
