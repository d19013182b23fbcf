"""The first administrator's password until it has been shown."""

import json
import secrets

from fleetsite.embedded.vault import write_private
from fleetsite.supervisor.options import Options

PASSWORD_BYTES = 12


class FirstSignIn:
    """Keeps a generated password in a private file, so that a start that dies between making the
    administrator and printing the password does not lose it. Removed once it was printed.
    """

    def __init__(self, options: Options) -> None:
        self.path = options.var_dir / "run" / "first-sign-in.json"
        self.is_left_over = options.admin_password is None and self.path.exists()
        self._password = options.admin_password

    def password(self) -> str:
        """The preset password, the one of an interrupted start, or a new one."""
        if self._password is None:
            self._password = self._kept() or secrets.token_urlsafe(PASSWORD_BYTES)
            write_private(self.path, json.dumps({"password": self._password}))
        return self._password

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def _kept(self) -> str | None:
        try:
            return str(json.loads(self.path.read_text(encoding="utf-8"))["password"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
