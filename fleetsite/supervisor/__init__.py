"""`manage.py up`: the whole portal on one machine, under supervision.

Runs before and without Django. What needs Django happens in one child, `prepare`.
"""

from fleetsite.supervisor.main import main

__all__ = ["main"]
