"""Verify an exported audit log without the portal: `python verifier.py audit.csv`.

Needs Python's standard library only. Exit status 0: every chain in the file holds; 1: a chain
is broken; 2: the file cannot be read as an export. A filtered export has gaps: each entry is
then proven by itself, and the gaps are counted.
"""

import csv
import hashlib
import sys
from collections.abc import Iterable

HASHED = [
    "organization_id", "organization", "seq", "at", "actor_type", "actor_id", "actor", "action",
    "target_type", "target_id", "target", "before", "after", "request_id", "previous_hash",
]  # fmt: skip


def original(cell: str) -> str:
    """Take away the apostrophe that keeps spreadsheets from executing a cell."""
    return cell[1:] if cell.startswith("'") else cell


def entry_hash(row: dict[str, str]) -> str:
    """Return the leaf hash: SHA-256 over a zero byte and `length:text,` of every column."""
    leaf = hashlib.sha256(b"\x00")
    for name in HASHED:
        text = original(row[name]).encode()
        leaf.update(b"%d:%s," % (len(text), text))
    return leaf.hexdigest()


def verify(rows: Iterable[dict[str, str]]) -> tuple[int, int, list[str]]:
    """Return how many entries were read, how many gaps a filter left, and what is wrong."""
    last: dict[str, tuple[int, str]] = {}
    entries, gaps, wrong = 0, 0, []
    for row in rows:
        entries += 1
        chain, seq = row["organization_id"], int(row["seq"])
        place = f"{row['organization'] or chain} #{seq}"
        if entry_hash(row) != row["hash"]:
            wrong.append(f"{place}: was edited after it was written")
        before_seq, before_hash = last.get(chain, (0, "0" * 64))
        if seq == before_seq + 1:
            if row["previous_hash"] != before_hash:
                wrong.append(f"{place}: does not continue the entry before it")
        elif seq <= before_seq:
            wrong.append(f"{place}: is out of order")
        else:
            gaps += 1
        last[chain] = (seq, row["hash"])
    return entries, gaps, wrong


def main(path: str) -> int:
    """Print the finding for one file; return the exit status."""
    csv.field_size_limit(2**31 - 1)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            entries, gaps, wrong = verify(csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        print(f"{path} cannot be read as an audit export: {error!r}", file=sys.stderr)
        return 2
    for sentence in wrong[:50]:
        print(sentence)
    verdict = "BROKEN" if wrong else "intact"
    print(f"{entries} entries, {gaps} gaps, {len(wrong)} faults: {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python verifier.py audit.csv")
    sys.exit(main(sys.argv[1]))
