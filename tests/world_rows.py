"""One set of rows of an organisation, and how requests name them."""

from dataclasses import dataclass, field

from accounts.models import Organization, User
from devices.models import Device

# What a set's values are called in paths, queries and bodies.
Names = dict[str, str]


@dataclass
class Rows:
    """One set of rows of an organisation; `names` is how requests name them."""

    word: str
    organization: Organization
    device: Device
    names: Names = field(default_factory=dict)
    users: list[User] = field(default_factory=list)
    # Everything an answer to a stranger must not hold beside the word.
    ids: list[str] = field(default_factory=list)
