"""Build the agent's wheel, so that the portal can hand it out."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from console.views.agent import newest_wheel, wheel_folder

TIMEOUT_S = 180


class Command(BaseCommand):
    help = "Build the agent's wheel into VAR_DIR/agent-dist; does nothing when it is up to date."

    def handle(self, *_args: Any, **_options: Any) -> None:
        source = Path(settings.BASE_DIR) / "agent"
        built = newest_wheel()
        if built is not None and built.stat().st_mtime >= _newest(source):
            self.stdout.write(f"{built} is up to date.")
            return
        folder = wheel_folder()
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--wheel-dir", str(folder), str(source)]
        try:
            # Nothing of it comes from outside: the interpreter and two folders of the project.
            subprocess.run(  # noqa: S603
                command, check=True, capture_output=True, timeout=TIMEOUT_S, text=True
            )
        except subprocess.SubprocessError as problem:
            reason = (getattr(problem, "stderr", "") or str(problem)).strip().splitlines()[-1:]
            raise CommandError(f"The agent's wheel was not built: {' '.join(reason)}") from None
        self.stdout.write(f"Built {newest_wheel()}.")


def _newest(source: Path) -> float:
    files = [source / "pyproject.toml", *(source / "fleet_agent").rglob("*.py")]
    return max(path.stat().st_mtime for path in files)
