"""The row of a command, locked, and the refusals that tell where it is."""

from commands.errors import TransitionRefused, VersionConflict
from commands.models import Command


def locked(command: Command) -> Command:
    """Return the command as it is now; until the transaction ends nobody else moves it."""
    rows = Command.objects.select_for_update(of=("self",))
    return rows.select_related("device", "organization").get(pk=command.pk)


def check_version(row: Command, expected: int | None) -> None:
    """Raise VersionConflict when the caller looked at another version than the present one."""
    if expected is not None and row.version != expected:
        raise VersionConflict(
            f"Command {row.pk} is at version {row.version} ({row.status}), not {expected}."
            " Look at it again, then decide.",
            command_status=row.status,
            attempt=row.attempt,
            version=row.version,
        )


def moved(row: Command, by: str, **changes: object) -> None:
    """Write `changes` of a locked row; the triggers write its trail and its version."""
    Command.objects.filter(pk=row.pk).update(moved_by=by, **changes)
    row.refresh_from_db(from_queryset=Command.objects.select_related("device", "organization"))


def does_not_fit(row: Command, what: str, attempt: int) -> TransitionRefused:
    """Return the refusal of something a device says of an attempt that is over or unknown."""
    return TransitionRefused(
        f"Command {row.pk} is {row.status} at attempt {row.attempt}; {what} of attempt {attempt}"
        " does not fit.",
        command_status=row.status,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested_at is not None,
    )
