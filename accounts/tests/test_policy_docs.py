"""The table of rights people read says what the table the portal asks says."""

from pathlib import Path

from accounts.policy import DEVICE, POLICY, Action, Role

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
COLUMNS = [*Role.values, DEVICE]


def documented_lines() -> list[str]:
    """Return the lines of the document's first table, without its rule."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| right |"))
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    return [line for line in lines[start:end] if not line.startswith("|---")]


def line_of(action: Action) -> str:
    """Return how the document shows an action."""
    cells = [" yes " if role in POLICY[action] else " " for role in COLUMNS]
    return f"| `{action}` |{'|'.join(cells)}|"


def test_the_documented_rights_are_the_rights_the_portal_asks_for():
    wanted = [f"| right | {' | '.join(COLUMNS)} |", *[line_of(action) for action in Action]]

    assert documented_lines() == wanted
