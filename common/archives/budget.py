"""What reading one archive may cost, counted while it is read."""

from dataclasses import dataclass

from common.archives.refusal import ArchiveRefused

# Small archives compress well by nature; the ratio counts from here.
RATIO_FROM = 1024 * 1024


@dataclass(frozen=True)
class Caps:
    """How much of everything an archive may have; bytes are unpacked ones."""

    members: int
    member_bytes: int
    unpacked_bytes: int
    ratio: int
    name_chars: int


class Budget:
    """Counts members and unpacked bytes of an archive of `packed` bytes."""

    def __init__(self, caps: Caps, *, packed: int) -> None:
        self.caps = caps
        self.packed = packed
        self.unpacked = 0
        self.members = 0
        self._names: set[str] = set()

    def add_member(self, name: str, size: int) -> None:
        """Count a file by what its header says. Raises ArchiveRefused."""
        self._count()
        if size > self.caps.member_bytes:
            raise ArchiveRefused(
                f"{name} has {size} bytes; a member may have {self.caps.member_bytes}."
            )
        # A case-blind file system would hold one of the two.
        if name.casefold() in self._names:
            raise ArchiveRefused(f"The name {name} is there twice.")
        self._names.add(name.casefold())

    def add_folder(self, name: str, size: int) -> None:
        """Count a folder. Raises ArchiveRefused for one that claims to hold bytes."""
        self._count()
        if size:
            raise ArchiveRefused(f"The folder {name} claims to hold {size} bytes.")

    def _count(self) -> None:
        self.members += 1
        if self.members > self.caps.members:
            raise ArchiveRefused(f"The archive has more than {self.caps.members} members.")

    def add_bytes(self, count: int, *, read: int) -> None:
        """Count unpacked bytes of any kind; `read` is how many packed ones went in so far."""
        self.unpacked += count
        if self.unpacked > self.caps.unpacked_bytes:
            raise ArchiveRefused(
                f"The archive unpacks to more than {self.caps.unpacked_bytes} bytes."
            )
        if self.unpacked > RATIO_FROM and self.unpacked > self.caps.ratio * max(read, 1):
            raise ArchiveRefused(
                f"The archive unpacks to more than {self.caps.ratio} times its size."
            )
