"""A small portal that keeps the contract between agent and portal and can be made to fail."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional
from urllib.parse import parse_qs, urlsplit

DEVICE = "kiosk-7"
TOKEN = "0123456789abcdef" * 4
ENROLMENT_TOKEN = "enrolment-secret-0123456789abcdef"
OPEN = ("queued", "delivered", "running")
TERMINAL = ("succeeded", "failed", "rejected", "cancelled")
MAX_PIECE_CHARS = 16 * 1024
# Between the bytes of a download that drips.
DRIP_S = 0.01


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next `count` requests whose path matches.

    `status` answers it before any work; `drop` closes the connection before any work;
    `lose` does the work and closes the connection instead of answering.
    """

    pattern: str
    kind: str = "status"
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    count: int = 1
    method: str = ""
    when: Callable[[Any], bool] = lambda body: True


class Answer(Exception):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body


def problem(status: int, code: str, detail: str, **extra: Any) -> Answer:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return Answer(status, {**body, **extra})


class PortalDouble:
    """State of the portal. Tests read it and wait for it with `until`."""

    def __init__(self) -> None:
        self.tokens: dict[str, list[str]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.flushed: list[dict[str, Any]] = []
        self.batch_sizes: list[int] = []
        self.commands: dict[str, dict[str, Any]] = {}
        self.patches: list[dict[str, Any]] = []
        self.bundles: list[bytes] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.takes_parts = True
        self.outputs: dict[tuple[str, int], list[str]] = {}
        self.output_times: list[float] = []
        self.renewals: list[dict[str, Any]] = []
        self.cancels: set[str] = set()
        self.scripts: dict[str, dict[str, Any]] = {}
        self.config: dict[str, Any] = {}
        # Files by path, answered as they are.
        self.files: dict[str, bytes] = {}
        self.has_stream = False
        self.streams_open = 0
        self.most_streams_open = 0
        self.bye: Optional[dict[str, Any]] = None
        self.claims_open = 0
        self.most_claims_open = 0
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.faults: list[Fault] = []
        self.next_heartbeat_s: Optional[float] = 1.0
        self.lifecycle = "active"
        self.max_hold_s = 25.0
        self.reject_sequences: set[int] = set()
        # An `UpdateBook` where the portal knows releases.
        self.updates: Any = None
        self.target_version: Optional[str] = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.is_closing = False
        self._server: Optional[ThreadingHTTPServer] = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        double = self

        class Handler(PortalHandler):
            portal = double

        server = Server(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        self._server = server
        self.is_closing = False
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop answering; `start` comes back on the same port."""
        with self.changed:
            self.is_closing = True
            self.changed.notify_all()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def know(self, device_id: str, token: str) -> None:
        self.devices[device_id] = {"device_id": device_id}
        self.tokens[device_id] = [sha256(token)]

    def queue(self, command_id: str, kind: str, payload: dict[str, Any], attempt: int = 1) -> None:
        with self.changed:
            self.commands[command_id] = {
                "id": command_id,
                "type": kind,
                "payload": payload,
                "attempt": attempt,
                "status": "queued",
                "report": None,
            }
            self.changed.notify_all()

    def cancel(self, command_id: str) -> None:
        """Ask the device to stop a command."""
        with self.changed:
            self.cancels.add(command_id)
            self.changed.notify_all()

    def output_of(self, command_id: str, attempt: int = 1) -> str:
        return "".join(self.outputs.get((command_id, attempt), []))

    def fail(self, pattern: str, **what: Any) -> Fault:
        fault = Fault(pattern, **what)
        self.faults.append(fault)
        return fault

    def until(self, condition: Callable[[], Any], seconds: float = 12.0) -> Any:
        """Wait until the condition holds; fail the test when it does not in time."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                value = condition()
                if value:
                    return value
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s; commands: {self.commands}"
                self.changed.wait(min(left, 0.1))

    def status_of(self, command_id: str) -> str:
        return str(self.commands[command_id]["status"])

    def ended(self, command_id: str) -> Callable[[], bool]:
        return lambda: self.status_of(command_id) in TERMINAL

    def report_of(self, command_id: str) -> dict[str, Any]:
        return dict(self.commands[command_id]["report"] or {})


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A device that dies in the middle of a request is what these tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class PortalHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    portal: PortalDouble

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - names given by http.server

    def _serve(self) -> None:  # noqa: C901 - one way to go wrong after the other
        portal = self.portal
        if portal.is_closing:
            self._drop()
            return
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if len(raw) < length:
            # The device died while it was sending.
            self._drop()
            return
        is_json = "json" in self.headers.get("Content-Type", "")
        body = json.loads(raw) if is_json else raw
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with portal.changed:
            portal.requests.append((self.command, self.path, headers, body))
            fault = self._fault(parts.path, body)
        if fault is not None and fault.kind == "drop":
            self._drop()
            return
        if fault is not None and fault.kind == "status":
            answer = problem(fault.status, "fault", "made to fail")
            self._send(answer, fault.headers)
            return
        if self._streamed(parts.path):
            return
        if parts.path.startswith("/api/v1/trust/targets/") and portal.updates is not None:
            path = parts.path.partition("/targets/")[2]
            self._send(Answer(200, portal.updates.manifests[path]), {})
            return
        if parts.path.startswith("/files/"):
            self._bundle_file(parts.path.rpartition("/")[2])
            return
        try:
            answer = self._route(parts.path, parse_qs(parts.query), body)
        except Answer as refusal:
            answer = refusal
        with portal.changed:
            portal.changed.notify_all()
        if portal.is_closing or (fault is not None and fault.kind == "lose"):
            self._drop()
            return
        self._send(answer, {})

    def _fault(self, path: str, body: Any) -> Optional[Fault]:
        for fault in self.portal.faults:
            if fault.count <= 0 or not re.search(fault.pattern, path):
                continue
            if fault.method in ("", self.command) and fault.when(body):
                fault.count -= 1
                return fault
        return None

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, answer: Answer, headers: dict[str, str]) -> None:
        data = b"" if answer.status == 204 else json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            kind = "application/json" if answer.status < 300 else "application/problem+json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    def _streamed(self, path: str) -> bool:
        """Answer what is no JSON: the stream, and files."""
        is_stream = self.portal.has_stream and path.endswith("/stream")
        if is_stream:
            self._stream()
        elif path in self.portal.files:
            self._file(self.portal.files[path])
        return is_stream or path in self.portal.files

    def _file(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _route(self, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        routes = (
            (r"/health", self._health),
            (r"/api/v1/devices/register", self._register),
            (r"/api/v1/devices/([^/]+)/heartbeat", self._heartbeat),
            (r"/api/v1/telemetry/batch", self._batch),
            (r"/api/v1/devices/([^/]+)/commands/claim", self._claim),
            (r"/api/v1/devices/([^/]+)/token/rotate", self._rotate),
            (r"/api/v1/devices/([^/]+)/config", self._config),
            (r"/api/v1/commands/([^/]+)/bundle", self._bundle),
            (r"/api/v1/commands/([^/]+)/bundle/parts", self._part),
            (r"/api/v1/commands/([^/]+)/renew", self._renew),
            (r"/api/v1/commands/([^/]+)/output", self._output),
            (r"/api/v1/commands/([^/]+)/script", self._script),
            (r"/api/v1/commands/([^/]+)", self._patch),
        )
        if self.portal.updates is not None:
            routes += (
                (r"/api/v1/devices/([^/]+)/update", self._offer),
                (r"/api/v1/telemetry/update-results", self._update_result),
                (r"/api/v1/telemetry/drift", self._drift),
                (r"/api/v1/recovery/([^/]+)/diagnostics", self._diagnostics),
            )
        for pattern, handle in routes:
            match = re.fullmatch(pattern, path)
            if match:
                return handle(query, body, *match.groups())
        raise problem(404, "not_found", "no such address")

    def _health(self, query: Any, body: Any) -> Answer:
        return Answer(200, {"status": "ok"})

    def _device(self, device_id: Optional[str] = None) -> str:
        token = self.headers.get("X-Device-Token") or ""
        for known, hashes in self.portal.tokens.items():
            if sha256(token) in hashes:
                if device_id not in (None, known):
                    raise problem(404, "not_found", "no such device")
                if sha256(token) == hashes[-1]:
                    del hashes[:-1]
                return known
        raise problem(401, "token_unknown", "The device token is unknown or revoked.")

    def _register(self, query: Any, body: Any) -> Answer:
        device_id = body["device_id"]
        portal = self.portal
        config = {"heartbeat_interval_s": 45, "command_poll_interval_s": 20, **portal.config}
        answer = {
            "device_id": device_id,
            "fleet_url": portal.url,
            "config": config,
            "lifecycle": portal.lifecycle,
            "token": None,
        }
        with portal.changed:
            if device_id in portal.devices:
                token = self.headers.get("X-Device-Token") or ""
                if sha256(token) not in portal.tokens[device_id]:
                    raise problem(409, "device_exists", f"{device_id} exists.")
                portal.devices[device_id].update(body)
                return Answer(200, answer)
            if body.get("enrollment_token") != ENROLMENT_TOKEN:
                raise problem(401, "enrollment_token_unknown", "The enrolment token is unknown.")
            portal.devices[device_id] = dict(body)
            token = None
            if "token_sha256" not in body:
                token = "f0" * 32
            portal.tokens[device_id] = [body.get("token_sha256") or sha256(str(token))]
            return Answer(201, {**answer, "token": token})

    def _heartbeat(self, query: Any, body: Any, device_id: str) -> Answer:
        self._device(device_id)
        portal = self.portal
        with portal.changed:
            portal.heartbeats.append(body)
            waiting = sum(c["status"] == "queued" for c in portal.commands.values())
        answer = {
            "ack": True,
            "commands_pending": waiting,
            "target_version": portal.target_version,
            "server_time": "2026-01-01T00:00:00Z",
        }
        if portal.next_heartbeat_s is not None:
            answer["next_heartbeat_s"] = portal.next_heartbeat_s
        return Answer(200, answer)

    def _batch(self, query: Any, body: Any) -> Answer:
        device_id = self._device()
        portal = self.portal
        results = []
        with portal.changed:
            portal.batch_sizes.append(len(body["heartbeats"]))
            for index, beat in enumerate(body["heartbeats"]):
                is_refused = (
                    beat["device_id"] != device_id or beat["sequence"] in portal.reject_sequences
                )
                results.append({"index": index, "status": "rejected" if is_refused else "accepted"})
                if not is_refused:
                    portal.flushed.append(beat)
        refused = sum(item["status"] == "rejected" for item in results)
        return Answer(
            200,
            {"accepted": len(results) - refused, "rejected": refused, "results": results},
        )

    def _claim(self, query: dict[str, list[str]], body: Any, device_id: str) -> Answer:
        self._device(device_id)
        portal = self.portal
        deadline = time.monotonic() + min(float(query["wait"][0]), portal.max_hold_s)
        with portal.changed:
            portal.claims_open += 1
            portal.most_claims_open = max(portal.most_claims_open, portal.claims_open)
        try:
            return self._claimed(deadline)
        finally:
            with portal.changed:
                portal.claims_open -= 1

    def _claimed(self, deadline: float) -> Answer:
        portal = self.portal
        with portal.changed:
            while not portal.is_closing:
                for command in portal.commands.values():
                    if command["status"] == "queued":
                        command["status"] = "delivered"
                        shown = {
                            name: command[name] for name in ("id", "type", "payload", "attempt")
                        }
                        return Answer(200, {"commands": [shown]})
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                portal.changed.wait(left)
        return Answer(200, {"commands": []})

    def _patch(self, query: Any, body: Any, command_id: str) -> Answer:
        self._device()
        portal = self.portal
        with portal.changed:
            command = portal.commands.get(command_id)
            if command is None:
                raise problem(404, "not_found", "no such command")
            status = body["status"]
            is_same = status in TERMINAL and command["report"] == body
            if not is_same:
                allowed = {"running": ("delivered",), "rejected": ("delivered", "running")}.get(
                    status, ("delivered", "running")
                )
                if command["attempt"] != body["attempt"] or command["status"] not in allowed:
                    raise problem(
                        409, "transition_refused", "not allowed", current=command["status"]
                    )
                command["status"] = status
                if status in TERMINAL:
                    command["report"] = body
            portal.patches.append({"id": command_id, **body})
            shown = {name: command[name] for name in ("id", "type", "status")}
            return Answer(200, {**shown, "cancel_requested": command_id in portal.cancels})

    def _stream(self) -> None:
        """Say the present truth, then every change, until the bye or the end of the portal."""
        portal = self.portal
        with portal.changed:
            portal.streams_open += 1
            portal.most_streams_open = max(portal.most_streams_open, portal.streams_open)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._tell_events()
        except OSError:
            return
        finally:
            with portal.changed:
                portal.streams_open -= 1

    def _tell_events(self) -> None:
        portal = self.portal
        told: set[str] = set()
        stopped: set[str] = set()
        self._event("hello", {"server_time": "2026-01-01T00:00:00Z", "pending": 0})
        while portal.has_stream and not portal.is_closing:
            with portal.changed:
                queued = {i for i, c in portal.commands.items() if c["status"] == "queued"}
                cancels, bye = portal.cancels - stopped, portal.bye
                if not (queued - told or cancels or bye or portal.events):
                    portal.changed.wait(0.2)
                events, portal.events = portal.events, []
            for name, fields in events:
                self._event(name, fields)
            if queued - told:
                self._event("command_queued", {"pending": len(queued)})
            for command_id in cancels:
                attempt = portal.commands[command_id]["attempt"]
                self._event("cancel_requested", {"command": command_id, "attempt": attempt})
            told |= queued
            stopped |= cancels
            if bye:
                portal.bye = None
                self._event("bye", bye)
                return

    def _event(self, name: str, data: dict[str, Any]) -> None:
        text = f": a comment\nid: 1\nevent: {name}\ndata: {json.dumps(data)}\n\n"
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _config(self, query: Any, body: Any, device_id: str) -> Answer:
        self._device(device_id)
        return Answer(200, {"device_id": device_id, **self.portal.config})

    def _script(self, query: Any, body: Any, command_id: str) -> Answer:
        self._device()
        if command_id not in self.portal.scripts:
            raise problem(404, "not_found", "no script")
        return Answer(200, self.portal.scripts[command_id])

    def _renew(self, query: Any, body: Any, command_id: str) -> Answer:
        self._device()
        portal = self.portal
        with portal.changed:
            self._of_this_attempt(command_id, body)
            portal.renewals.append({"id": command_id, **body})
            return Answer(200, {"cancel_requested": command_id in portal.cancels})

    def _of_this_attempt(self, command_id: str, body: Any) -> dict[str, Any]:
        command = self.portal.commands.get(command_id)
        if command is None:
            raise problem(404, "not_found", "no such command")
        if command["attempt"] != body["attempt"] or command["status"] in TERMINAL:
            raise problem(409, "transition_refused", "not now", command_status=command["status"])
        return command

    def _output(self, query: Any, body: Any, command_id: str) -> Answer:
        self._device()
        portal = self.portal
        with portal.changed:
            self._of_this_attempt(command_id, body)
            pieces = portal.outputs.setdefault((command_id, body["attempt"]), [])
            if len(body["text"]) > MAX_PIECE_CHARS:
                raise problem(422, "too_long", "A piece has at most 16 Ki characters.")
            if body["index"] > len(pieces):
                raise problem(409, "gap", "A piece is missing.", next_index=len(pieces))
            if body["index"] == len(pieces):
                pieces.append(body["text"])
                portal.output_times.append(time.monotonic())
            answer = {"next_index": len(pieces), "truncated": False}
            return Answer(202, {**answer, "cancel_requested": command_id in portal.cancels})

    def _part(self, query: dict[str, list[str]], body: Any, command_id: str) -> Answer:
        self._device()
        portal = self.portal
        if not portal.takes_parts or self.command != "PUT":
            raise problem(405, "method_not_allowed", "no parts here")
        with portal.changed:
            size, digest = int(self.headers["X-Upload-Size"]), self.headers["X-Upload-SHA256"]
            fresh = {"data": b"", "size": size, "status": "uploading"}
            upload = portal.uploads.setdefault(command_id, fresh)
            if int(query["offset"][0]) != len(upload["data"]):
                raise problem(409, "offset", "not there", received=len(upload["data"]))
            upload["data"] += body
            if len(upload["data"]) == size:
                if hashlib.sha256(upload["data"]).hexdigest() != digest:
                    del portal.uploads[command_id]
                    raise problem(422, "checksum", "The checksum does not match.")
                upload["status"] = "quarantined"
                portal.bundles.append(upload["data"])
            return Answer(200, {"received": len(upload["data"]), "id": "bundle-1"})

    def _bundle(self, query: Any, body: Any, command_id: str) -> Answer:
        self._device()
        if self.command == "GET":
            upload = self.portal.uploads.get(command_id)
            if upload is None:
                raise problem(404, "not_found", "no upload")
            shown = {"size": upload["size"], "status": upload["status"]}
            return Answer(200, {"received": len(upload["data"]), **shown})
        digest = hashlib.sha256(body).hexdigest()
        if self.headers.get("X-Content-SHA256") != digest:
            raise problem(422, "checksum", "The checksum does not match.")
        with self.portal.changed:
            self.portal.bundles.append(body)
        return Answer(201, {"id": "bundle-1", "size": len(body), "sha256": digest})

    def _offer(self, query: Any, body: Any, device_id: str) -> Answer:
        self._device(device_id)
        with self.portal.changed:
            offer = self.portal.updates.offered()
            return Answer(200, dict(offer)) if offer else Answer(204, {})

    def _update_result(self, query: Any, body: Any) -> Answer:
        self._device()
        with self.portal.changed:
            status, answer = self.portal.updates.report(body)
        return Answer(status, answer)

    def _drift(self, query: Any, body: Any) -> Answer:
        self._device()
        with self.portal.changed:
            self.portal.updates.drifts.append(body)
        return Answer(200, {"open": bool(body["items"])})

    def _diagnostics(self, query: Any, body: Any, device_id: str) -> Answer:
        self._device(device_id)
        with self.portal.changed:
            self.portal.updates.diagnostics.append(body)
        return Answer(200, {"accepted": True})

    def _bundle_file(self, release_id: str) -> None:
        """Send a bundle, or the part that is asked for; cut the connection when told to."""
        book = self.portal.updates
        with self.portal.changed:
            status, headers, data = book.part(
                release_id, self.headers.get("Range"), self.headers.get("If-Range")
            )
            cut, book.cut_after = book.cut_after, None
            is_dripping, book.drips = book.drips > 0, max(0, book.drips - 1)
        self.send_response(status)
        self.send_header("Content-Length", str(1 << 30 if book.endless else len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            if is_dripping:
                self._drip(data)
            self.wfile.write(data if cut is None else data[:cut])
            while book.endless:
                self.wfile.write(b"x" * 65536)
        if cut is not None:
            self._drop()

    def _drip(self, data: bytes) -> None:
        """Send byte after byte until the other side has enough of it."""
        for offset in range(len(data)):
            self.wfile.write(data[offset : offset + 1])
            time.sleep(DRIP_S)  # The slowness is what is tested.

    def _rotate(self, query: Any, body: Any, device_id: str) -> Answer:
        self._device(device_id)
        with self.portal.changed:
            hashes = self.portal.tokens[device_id]
            if body["token_sha256"] not in hashes:
                hashes.append(body["token_sha256"])
        return Answer(200, {"token": None, "previous_expires_at": None})
