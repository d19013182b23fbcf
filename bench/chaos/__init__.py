"""What must hold when processes die: repeatable programs that count what was lost or doubled."""
