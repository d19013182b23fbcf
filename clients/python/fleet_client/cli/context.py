"""What every command of the program shares: the client, the ways to answer, exit statuses."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Dict, NoReturn, Optional, TypeVar

import click

from fleet_client.cli.profile import ProfileFile, ProfileTokens, config_path
from fleet_client.cli.tables import table
from fleet_client.client import FleetClient
from fleet_client.core import portal_address
from fleet_client.errors import FleetError, NotFound, NotSignedIn, Refused, Unreachable, plain_text
from fleet_client.records import Record

FAILED, MISUSED, NOT_FOUND, REFUSED, UNREACHABLE = 1, 2, 3, 4, 5
R = TypeVar("R", bound=Record)
F = TypeVar("F", bound=Callable[..., Any])


class Program:
    """The settings of one call of `fleet`, and its client."""

    def __init__(self, *, profile: str, url: Optional[str], organization: Optional[str]) -> None:
        self.profile_name = profile
        self.file = ProfileFile(config_path())
        self.is_json = False
        self.is_quiet = False
        self._url = url
        self._organization = organization
        self._client: Optional[FleetClient] = None

    @property
    def client(self) -> FleetClient:
        """The client, made at the first use."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _connect(self) -> FleetClient:
        profile = self.file.get(self.profile_name)
        url = self._url or profile.get("url")
        if not url:
            raise NotSignedIn("No portal is known. Run: fleet login URL, or set FLEET_URL.")
        settings = client_settings(self._organization or profile.get("organization"))
        key = os.environ.get("FLEET_API_KEY")
        if not key and self._url and portal_address(self._url) != profile.get("url"):
            # What was kept for one portal is not shown to another.
            raise NotSignedIn(
                f"You are not signed in at {self._url}. Run: fleet login, or set FLEET_API_KEY."
            )
        key = key or profile.get("api_key")
        if key:
            return FleetClient(url, api_key=key, **settings)
        if not profile.get("access"):
            raise NotSignedIn("You are not signed in. Run: fleet login, or set FLEET_API_KEY.")
        store = ProfileTokens(self.file, self.profile_name)
        return FleetClient(url, token_store=store, **settings)

    # --- answers ---

    def records(
        self, rows: Iterable[Record], headings: Sequence[str], cells: Callable[[Any], Sequence[Any]]
    ) -> None:
        """Show a list: a table, or the exact JSON of its rows."""
        found = list(rows)
        if self.is_json:
            self.json([row.raw for row in found])
        elif found:
            click.echo(table(headings, [cells(row) for row in found]))
        else:
            self.note("Nothing found.")

    def record(self, record: Record, text: str) -> None:
        """Show one thing: text, or its exact JSON."""
        if self.is_json:
            self.json(record.raw)
        else:
            click.echo(text)

    def json(self, data: Any) -> None:
        """Write JSON to standard output."""
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))

    def note(self, text: str) -> None:
        """Say something beside the answer, on standard error."""
        if not self.is_quiet:
            click.echo(plain_text(text), err=True)


def client_settings(organization: Optional[str]) -> Dict[str, Any]:
    """Return what the environment says about connections."""
    found: Dict[str, Any] = {"organization": organization}
    if os.environ.get("FLEET_CA_FILE"):
        found["verify"] = os.environ["FLEET_CA_FILE"]
    return found


def command(group: click.Group, name: str) -> Callable[[F], click.Command]:
    """Declare a command of a group that gets the program first, and knows --json and --quiet."""

    def declare(function: F) -> click.Command:
        @group.command(name)
        @click.option("--json", "is_json", is_flag=True, help="The portal's answer as JSON.")
        @click.option("--quiet", "-q", "is_quiet", is_flag=True, help="No word beside the answer.")
        @click.pass_context
        @functools.wraps(function)
        def run(context: click.Context, /, *, is_json: bool, is_quiet: bool, **kwargs: Any) -> Any:
            program: Program = context.obj
            program.is_json |= is_json
            program.is_quiet |= is_quiet
            return function(program, **kwargs)

        return run

    return declare


def options(*declared: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that adds options in the order given."""

    def declare(function: F) -> F:
        return functools.reduce(lambda done, option: option(done), reversed(declared), function)

    return declare


def first(rows: Iterable[R], limit: int) -> Iterable[R]:
    """Return the first rows; 0 is all of them."""
    return islice(rows, limit) if limit else rows


def json_value(_context: Any, _parameter: Any, text: Optional[str]) -> Any:
    """Read an option that holds a JSON object; @file and @- name where it is."""
    if text is None:
        return None
    try:
        value = json.loads(_text_of(text))
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.BadParameter('is not a JSON object, such as {"service": "cron"}')
    return value


def _text_of(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        with click.open_file(text[1:], encoding="utf-8") as stream:
            return str(stream.read())
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None


def leave(error: FleetError) -> NoReturn:
    """End the program with the status that tells what went wrong."""
    click.echo(f"fleet: {plain_text(str(error))}", err=True)
    if error.request_id:
        click.echo(f"fleet: request {error.request_id}", err=True)
    sys.exit(exit_status(error))


def exit_status(error: FleetError) -> int:
    """Return 3 for what is not there, 4 for a refusal, 5 for silence, else 1."""
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, (Refused, NotSignedIn)):
        return REFUSED
    return UNREACHABLE if isinstance(error, Unreachable) else FAILED
