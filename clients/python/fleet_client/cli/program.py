"""The program: its groups of commands, and how it ends."""

from __future__ import annotations

import sys
from typing import Any, NoReturn, Optional

import click

from fleet_client.cli import (
    audits,
    batches,
    bundles,
    commands,
    devices,
    releases,
    rollout_acts,
    rollouts,
    sign_in,
)
from fleet_client.cli.context import FAILED, MISUSED, Program, leave
from fleet_client.errors import FleetError
from fleet_client.version import __version__

EPILOG = """\b
Exit status:
  0  done
  1  the thing failed: a command, a batch, a rollout, a wait, a file, the portal itself
  2  wrong use
  3  not found
  4  refused
  5  unreachable

The environment: FLEET_URL, FLEET_API_KEY, FLEET_ORG, FLEET_PROFILE, FLEET_CA_FILE, FLEET_CONFIG.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", envvar="FLEET_PROFILE", default="default", help="Whose sign-in to use.")
@click.option("--url", envvar="FLEET_URL", help="Address of the portal.")
@click.option("--org", "organization", envvar="FLEET_ORG", help="Act in this organisation (slug).")
@click.version_option(__version__, prog_name="fleet")
@click.pass_context
def fleet(
    context: click.Context, profile: str, url: Optional[str], organization: Optional[str]
) -> None:
    """Watch and act on a fleet of devices through its portal."""
    context.obj = Program(profile=profile, url=url, organization=organization)
    context.call_on_close(context.obj.close)


for part in (
    devices.devices,
    commands.commands,
    batches.batches,
    bundles.bundles,
    releases.releases,
    rollouts.rollouts,
    audits.audits,
):
    fleet.add_command(part)
for one in sign_in.signing.commands.values():
    fleet.add_command(one)
for one in rollout_acts.acts.commands.values():
    rollouts.rollouts.add_command(one)


def main(arguments: Optional[list[str]] = None) -> Any:
    """Run `fleet`."""
    try:
        fleet.main(args=arguments, prog_name="fleet")
    except FleetError as error:
        leave(error)
    except ValueError as error:
        _end(str(error), MISUSED)
    except OSError as error:
        _end(f"{error.filename or ''}: {error.strerror}".lstrip(": "), FAILED)


def _end(text: str, status: int) -> NoReturn:
    click.echo(f"fleet: {text}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
