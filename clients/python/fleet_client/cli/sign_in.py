"""Signing in and out."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional
from urllib.parse import urlsplit

import click

from fleet_client.cli.context import Program, client_settings, command
from fleet_client.cli.tables import facts
from fleet_client.client import FleetClient
from fleet_client.core import portal_address
from fleet_client.credentials import Tokens
from fleet_client.errors import Unauthenticated
from fleet_client.models import Me

MAX_SECRET_CHARS = 4_096
HERE = {"localhost", "127.0.0.1", "::1"}


# Its commands stand beside the groups, as `fleet login`.
signing = click.Group()


@command(signing, "login")
@click.argument("url", required=False)
@click.option("--email", help="Sign in as this person; the password is asked for.")
@click.option("--api-key", "by_key", is_flag=True, help="Keep an API key; it is asked for.")
@click.option("--org", "organization", help="Act in this organisation (slug) from now on.")
def login(
    program: Program,
    *,
    url: Optional[str],
    email: Optional[str],
    by_key: bool,
    organization: Optional[str],
) -> None:
    """Sign in at a portal, and keep the sign-in.

    Without a terminal the password or the key is read from standard input, or taken from
    FLEET_PASSWORD or FLEET_API_KEY. Neither is ever an argument, which others could see.
    """
    address = _address(program, url)
    profile: Dict[str, Any] = {"url": address}
    if organization:
        profile["organization"] = organization
    settings = client_settings(organization)
    if by_key:
        profile["api_key"] = _secret("API key", "FLEET_API_KEY")
        me = _whoami(address, api_key=profile["api_key"], **settings)
    else:
        email = email or click.prompt("E-mail", err=True)
        tokens = _signed_in(address, email, settings)
        profile.update(email=email, access=tokens.access, refresh=tokens.refresh)
        profile["expires_at"] = tokens.expires_at or 0.0
        me = _whoami(address, token=tokens.access, **settings)
    program.file.put(program.profile_name, profile)
    program.note(f"Signed in at {address} as {me.label}; kept in {program.file.path}.")


@command(signing, "logout")
def logout(program: Program) -> None:
    """Forget the sign-in on this machine."""
    found = program.file.remove(program.profile_name)
    program.note("Signed out." if found else "You were not signed in.")


@command(signing, "whoami")
def whoami(program: Program) -> None:
    """Show who the portal takes you for."""
    me = program.client.service.whoami()
    program.record(me, facts(_facts(program, me)))


def _facts(program: Program, me: Me) -> list[tuple[str, Any]]:
    return [
        ("portal", program.client.core.base_url),
        ("caller", me.label),
        ("kind", me.kind),
        ("organisation", me.organization),
        ("role", me.role),
        ("member of", me.organizations),
    ]


def _address(program: Program, url: Optional[str]) -> str:
    named = url or os.environ.get("FLEET_URL") or program.file.get(program.profile_name).get("url")
    try:
        address = portal_address(named or click.prompt("Address of the portal", err=True))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in HERE:
        program.note(f"Warning: {address} is not encrypted; others on the way can read along.")
    return address


def _signed_in(address: str, email: str, settings: Dict[str, Any]) -> Tokens:
    password = _secret("Password", "FLEET_PASSWORD")
    totp: Optional[str] = None
    while True:
        with FleetClient(address, email=email, password=password, totp=totp, **settings) as client:
            try:
                return client.service.sign_in()
            except Unauthenticated as error:
                if error.code != "totp_needed" or totp or not sys.stdin.isatty():
                    raise
        totp = click.prompt("Code of your authenticator app", err=True)


def _whoami(address: str, **settings: Any) -> Me:
    with FleetClient(address, **settings) as client:
        return client.service.whoami()


def _secret(what: str, variable: str) -> str:
    """Return a secret from the environment, the terminal or standard input."""
    named = os.environ.get(variable)
    if named:
        return named
    if sys.stdin.isatty():
        asked: str = click.prompt(what, hide_input=True, err=True)
        return asked
    read = sys.stdin.readline(MAX_SECRET_CHARS).rstrip("\r\n")
    if not read:
        raise click.UsageError(f"No {what} came: pipe it in, or set {variable}.")
    return read
