"""`make bench-redaction`: recall, false lines and speed, as ratios to what is asked for."""

import sys

from bench.redaction.measure import measure, megabytes_per_second

LINES = 50_000
WANTED_RECALL, MOST_FALSE, WANTED_SPEED = 0.99, 0.01, 4.0


def main() -> int:
    told = measure(lines=LINES)
    speed = max(megabytes_per_second(lines=LINES) for _ in range(3))
    both = max(megabytes_per_second(lines=LINES, with_findings=True) for _ in range(3))
    say = sys.stdout.write
    say(f"planted secrets  {told.planted} in {len(told.formats)} formats\n")
    say(f"found            {told.planted - len(told.missed)}/{told.planted}")
    say(f" = {told.recall:.1%} (wanted: {WANTED_RECALL:.0%})\n")
    say(f"false lines      {len(told.falsely)}/{told.lines} = {told.false_share:.2%}")
    say(f" (at most: {MOST_FALSE:.0%})\n")
    say(f"speed            {speed:.1f} MB/s = {speed / WANTED_SPEED:.1f}x of what is wanted\n")
    say(f"with findings    {both:.1f} MB/s\n")
    for one in told.missed:
        say(f"missed           {one.format}: {one.lines}\n")
    for line, kept in told.falsely[:20]:
        say(f"false            {line}\n              -> {kept}\n")
    good = told.recall >= WANTED_RECALL and told.false_share <= MOST_FALSE and speed >= WANTED_SPEED
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
