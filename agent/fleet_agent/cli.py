"""The command line: enroll, run, status, rotate, accept."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Optional

from fleet_agent import __version__
from fleet_agent.agent import is_running, prepared_state_dir, run_agent
from fleet_agent.contact import read_contact
from fleet_agent.drift import AcceptedState
from fleet_agent.enrolment import Enrolment, enroll
from fleet_agent.errors import AgentError
from fleet_agent.journal import unconfirmed
from fleet_agent.offline_queue import OfflineQueue
from fleet_agent.portal import PortalClient, is_reachable
from fleet_agent.redaction import SECRETS
from fleet_agent.rotation import rotate_token
from fleet_agent.settings import ConfigStore, config_path
from fleet_agent.signing import KeyRing, can_verify
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.trust import TrustStore, can_trust

MAX_TOKEN_FILE_CHARS = 4096


def main(argv: Optional[list[str]] = None) -> int:
    """Run one command; exit status 0: well, 1: failed, 2: wrong use, 78: unusable settings."""
    options = _parser().parse_args(argv)
    try:
        status: int = options.command(options)
    except AgentError as error:
        sys.stderr.write(f"fleet-agent: {SECRETS.clean(str(error))}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"fleet-agent: {SECRETS.clean(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleet-agent", description="The fleet portal's device agent"
    )
    parser.add_argument("--version", action="version", version=f"fleet-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        metavar="PATH",
        help="fleet.conf (else FLEET_CONFIG, else /etc/fleet-agent/fleet.conf)",
    )
    _add_enroll(commands, common)
    running = commands.add_parser("run", parents=[common], help="work until stopped")
    running.set_defaults(command=_run)
    status = commands.add_parser(
        "status", parents=[common], help="show settings, contact and queue"
    )
    status.set_defaults(command=_status)
    status.add_argument("--json", action="store_true", dest="is_json", help="for programs")
    rotating = commands.add_parser(
        "rotate", parents=[common], help="replace the device's token now"
    )
    rotating.set_defaults(command=_rotate)
    accepting = commands.add_parser(
        "accept", parents=[common], help="take the watched files as right, as they are now"
    )
    accepting.set_defaults(command=_accept)
    return parser


def _add_enroll(commands: Any, common: argparse.ArgumentParser) -> None:
    enrolling = commands.add_parser(
        "enroll", parents=[common], help="make this machine known to the portal"
    )
    enrolling.set_defaults(command=_enroll)
    enrolling.add_argument("--url", help="address of the portal")
    enrolling.add_argument(
        "--token",
        help="enrolment token; safer in FLEET_ENROLLMENT_TOKEN or --token-file, "
        "because other users see the arguments of a program",
    )
    enrolling.add_argument(
        "--token-file", metavar="PATH", help="file with the enrolment token, - for input"
    )
    enrolling.add_argument(
        "--device-id", metavar="ID", help="else made of host name and machine id"
    )
    for name in ("name", "role", "segment"):
        enrolling.add_argument(f"--{name}")
    enrolling.add_argument("--organization", metavar="SLUG", help="for enrolment without a token")
    enrolling.add_argument(
        "--allow-updates",
        action="store_true",
        help="let the portal install releases that trusted keys have signed",
    )
    enrolling.add_argument("--replace", action="store_true", help="give up the enrolment there is")


def _enroll(options: argparse.Namespace) -> int:
    wanted = Enrolment(
        url=options.url,
        token=_enrolment_token(options),
        device_id=options.device_id,
        name=options.name,
        role=options.role,
        segment=options.segment,
        organization=options.organization,
        is_replacing=options.replace,
        allows_updates=options.allow_updates,
    )
    sys.stdout.write(enroll(config_path(options.config), wanted) + "\n")
    return 0


def _enrolment_token(options: argparse.Namespace) -> Optional[str]:
    if options.token_file:
        if options.token_file == "-":  # noqa: S105 - the name of standard input
            text = sys.stdin.read(MAX_TOKEN_FILE_CHARS)
        else:
            with Path(options.token_file).open() as stream:
                text = stream.read(MAX_TOKEN_FILE_CHARS)
        return text.strip() or None
    return options.token or os.environ.get("FLEET_ENROLLMENT_TOKEN") or None


def _run(options: argparse.Namespace) -> int:
    store = ConfigStore(config_path(options.config))
    run_agent(store, lambda portal: trust_store(store, portal))


def trust_store(store: ConfigStore, portal: PortalClient) -> TrustStore:
    """Return what decides whose releases this device takes, by the settings of the moment."""
    return TrustStore(state_dir=store.state_dir, portal=portal, trust=store.settings.update_trust)


def _rotate(options: argparse.Namespace) -> int:
    rotate_token(ConfigStore(config_path(options.config)))
    sys.stdout.write("The token was replaced; a running agent uses the new one from now on.\n")
    return 0


def _accept(options: argparse.Namespace) -> int:
    store = ConfigStore(config_path(options.config))
    number = AcceptedState(prepared_state_dir(store)).accept(store.watched_paths)
    sys.stdout.write(f"The present state of {number} files is accepted.\n")
    return 0


def _status(options: argparse.Namespace) -> int:
    store = ConfigStore(config_path(options.config))
    report = _status_report(store)
    lines = [json.dumps(report, indent=2)] if options.is_json else _status_lines(report)
    sys.stdout.write(SECRETS.clean("\n".join(lines)) + "\n")
    return 0 if report["enrolled"] and report["reachable"] else 1


def _status_report(store: ConfigStore) -> dict[str, Any]:
    queue = OfflineQueue(
        store.state_dir / "queue", max_bytes=store.settings.queue_max_mb * 1024 * 1024
    )
    reachable, sentence = is_reachable(store.settings)
    return {
        "version": __version__,
        "config_path": str(store.path),
        "state_dir": str(store.state_dir),
        "config": store.settings.shown(),
        "enrolled": store.settings.is_enrolled,
        "running": is_running(store.state_dir),
        "contact": read_contact(store.state_dir / "state.json"),
        "queue_length": len(queue),
        "queue_bytes": queue.size_bytes,
        "results_unconfirmed": unconfirmed(store.state_dir / "journal.jsonl"),
        "signing_keys": _signing_keys(store),
        "releases": {**Deployment(store).shown(), "can_trust": can_trust()},
        "reachable": reachable,
        "reachability": sentence,
    }


def _signing_keys(store: ConfigStore) -> dict[str, Any]:
    ring = KeyRing(store.state_dir)
    return {
        "can_verify": can_verify(),
        "organization": ring.organization,
        "pinned": sorted(ring.keys),
        # Named by the portal later on; enrolling again would trust them.
        "refused": sorted(key for key in ring.refused if ring.refused[key] != ring.keys.get(key)),
    }


def _scripts_line(keys: dict[str, Any]) -> str:
    if keys["refused"]:
        return (
            f"the portal's signing key changed ({', '.join(keys['refused'])}) and is refused; "
            "enrol again if that was on purpose"
        )
    if not keys["can_verify"]:
        return "none can be run: the Python package cryptography is missing"
    return f"signing keys pinned: {', '.join(keys['pinned']) or 'none yet'}"


def _release_line(releases: dict[str, Any]) -> str:
    if not releases["version"]:
        return "none"
    previous = releases["previous_version"]
    return f"{releases['version']} ({releases['commit']}), before it {previous or 'none'}"


def _update_line(report: dict[str, Any]) -> str:
    releases = report["releases"]
    if not report["config"]["ALLOW_UPDATES"]:
        return "not allowed by this device's owner (ALLOW_UPDATES)"
    if not releases["can_trust"]:
        return "none can be checked: the Python package tuf is missing"
    if releases["update_id"] is None:
        return "none so far"
    ended = releases["update_status"]
    told = ", the portal has not heard of it yet" if releases["update_unreported"] else ""
    error = f": {releases['update_error'].splitlines()[0]}" if releases["update_error"] else ""
    return f"{releases['update_version']}, {ended or releases['update_phase']}{told}{error}"


def _safe_mode_line(releases: dict[str, Any]) -> str:
    if releases["safe_mode"]:
        leaving = f", {releases['update_version']} waits for its proof to leave it"
        return f"on{leaving * releases['leaving_safe_mode']}: {releases['safe_mode_reason']}"
    failed = releases["failed_starts"]
    return f"off, the application failed to start {failed} times" if failed else "off"


def _status_lines(report: dict[str, Any]) -> list[str]:
    contact = report["contact"]
    failure = f"{contact.get('last_failure_at') or 'never'} {contact.get('last_failure') or ''}"
    lines = [
        f"fleet-agent {report['version']}, {'running' if report['running'] else 'not running'}",
        f"enrolled:     {'yes' if report['enrolled'] else 'no'}",
        f"portal:       {report['reachability']}",
        f"last contact: {contact.get('last_contact_at') or 'never'}",
        f"last failure: {failure}",
        f"queue:        {report['queue_length']} heartbeats, {report['queue_bytes']} bytes",
        f"commands:     {report['results_unconfirmed']} results not confirmed by the portal",
        f"scripts:      {_scripts_line(report['signing_keys'])}",
        f"release:      {_release_line(report['releases'])}",
        f"update:       {_update_line(report)}",
        f"safe mode:    {_safe_mode_line(report['releases'])}",
        f"settings:     {report['config_path']}",
    ]
    lines += [f"  {name}={_as_written(value)}" for name, value in report["config"].items()]
    return [line.rstrip() for line in lines]


def _as_written(value: Any) -> str:
    """Return a setting as fleet.conf would hold it."""
    if isinstance(value, list):
        return ",".join(value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
