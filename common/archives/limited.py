"""What a process that reads strangers' archives gives up before it reads the first byte."""

import os
import resource


def limit_process(*, memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """Take from this process what reading does not need; none of it can be taken back."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        resource.setrlimit(what, (most, most))
    os.nice(5)
