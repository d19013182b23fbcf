"""How commands travel. Higher floors register the transports they bring when apps are ready."""

from commands.errors import ProtocolUnavailable

# Fetched by the portal's own agent over HTTP; always there.
AGENT = "agent"
_AVAILABLE: set[str] = {AGENT}


def register(protocol: str) -> None:
    """Make commands of a protocol acceptable; whoever registers it carries them."""
    _AVAILABLE.add(protocol)


def available() -> list[str]:
    """Return the protocols commands can be sent over, by name."""
    return sorted(_AVAILABLE)


def checked(protocol: str) -> str:
    """Return the protocol in lower case, or raise ProtocolUnavailable naming those there are."""
    wanted = protocol.lower()
    if wanted not in _AVAILABLE:
        raise ProtocolUnavailable(
            f"No transport for “{protocol}” is configured. Available: {', '.join(available())}.",
            available=available(),
        )
    return wanted
