"""The process that reads an archive: `python -m commands.bundles.process <archive> <kept>`.

Both arguments are numbers of open files it inherited; it knows no path, no settings and no
database. It limits itself before it reads the first byte and prints one JSON object: the report,
or `{"refused": reason}`. Whatever else happens to it, its parent sees a death.
"""

import io
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from commands.bundles.contents.archive import archive_members
from commands.bundles.contents.rewriting import rewrite
from common import limits
from common.archives.limited import limit_process
from common.archives.refusal import ArchiveRefused


def main() -> int:
    _limit()
    archive, kept = (int(number) for number in sys.argv[1:3])
    with os.fdopen(archive, "rb") as source, os.fdopen(kept, "w+b") as target:
        said = json.dumps(_read(source, target)).encode()
        target.flush()
        os.fsync(target.fileno())
    if len(said) > limits.BUNDLE_REPORT_BYTES:
        said = json.dumps({"refused": "The report on the archive grew too long."}).encode()
    sys.stdout.buffer.write(said)
    return 0


def _limit() -> None:
    limit_process(
        memory_bytes=limits.BUNDLE_READER_MEMORY_BYTES,
        cpu_s=limits.BUNDLE_READER_CPU_S,
        # The kept zip of files that do not compress, and its directory.
        file_bytes=limits.BUNDLE_UNPACKED_BYTES + limits.BUNDLE_BYTES,
    )


def _read(source: io.BufferedReader, target: Any) -> dict[str, Any]:
    try:
        return asdict(rewrite(archive_members(source), target))
    except ArchiveRefused as refusal:
        return {"refused": str(refusal)}
    except MemoryError:
        return {"refused": "Reading the archive needs more memory than any bundle may."}


if __name__ == "__main__":
    sys.exit(main())
