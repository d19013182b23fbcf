"""Why something that came from the portal is not believed."""

from __future__ import annotations

from fleet_agent.errors import AgentError

# Reported to the portal as `error_code`.
ROLLBACK = "rollback"
FREEZE = "freeze"
MIX_AND_MATCH = "mix_and_match"
ENDLESS_DATA = "endless_data"
SLOW_RETRIEVAL = "slow_retrieval"
SIGNATURE = "signature"
CONTENT = "content"
EXPIRED = "expired"
MALFORMED = "malformed"
NOT_FOUND = "not_found"
NOT_ALLOWED = "not_allowed"
OTHER_RELEASE = "other_release"
OTHER_ORGANIZATION = "other_organization"
UNAVAILABLE = "unavailable"
STORAGE = "storage"
NETWORK = "network"

_CLASSES = {NETWORK: "network", STORAGE: "space", NOT_ALLOWED: "refused", UNAVAILABLE: "refused"}


class TrustError(AgentError):
    """A refusal; `code` says which kind of attack or trouble it looks like."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def failure_class(self) -> str:
        """The class of failure that is reported of an update it ends."""
        return _CLASSES.get(self.code, "verification")

    @property
    def is_temporary(self) -> bool:
        """True when the same question may be answered later without anybody changing anything."""
        return self.code in (NETWORK, SLOW_RETRIEVAL, STORAGE)
