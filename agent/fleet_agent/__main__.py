"""`python -m fleet_agent` is the same as `fleet-agent`."""

import sys

from fleet_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
