"""The process that reads a bundle: `python -m releases.validation.process <bundle>`.

The argument is the number of an open file it inherited; it knows no path, no settings and no
database. It limits itself before it reads the first byte and prints the report as JSON. Whatever
else happens to it, its parent sees a death.
"""

import json
import os
import sys
from dataclasses import asdict
from typing import Any

from common import limits
from common.archives.limited import limit_process
from releases.validation.findings import error
from releases.validation.report import Report, report_on


def main() -> int:
    limit_process(
        memory_bytes=limits.ARTIFACT_READER_MEMORY_BYTES,
        cpu_s=limits.ARTIFACT_READER_CPU_S,
        file_bytes=0,
    )
    with os.fdopen(int(sys.argv[1]), "rb") as bundle:
        said = json.dumps(asdict(_read(bundle))).encode()
    if len(said) > limits.ARTIFACT_REPORT_BYTES:
        said = json.dumps(asdict(_refused("The report on the bundle grew too long."))).encode()
    sys.stdout.buffer.write(said)
    return 0


def _read(bundle: Any) -> Report:
    try:
        return report_on(bundle)
    except MemoryError:
        return _refused("Reading the bundle needs more memory than any bundle may.")


def _refused(reason: str) -> Report:
    return Report(findings=[asdict(error("archive", "", reason))])


if __name__ == "__main__":
    sys.exit(main())
