#!/usr/bin/env python
import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said in one sentence, not as a syntax error
    sys.exit(f"Python {sys.version.split()[0]} is too old; the portal needs Python 3.11 or newer.")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
    if sys.argv[1:] == ["up"]:
        # The servers have to run before the settings can name them.
        from fleetsite.supervisor import main as up

        return up()
    from django.core.management import execute_from_command_line

    from fleetsite.embedded.errors import EmbeddedError

    try:
        execute_from_command_line(sys.argv)
    except EmbeddedError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
