"""The buttons of a rollout's page."""

from accounts.admin_pages import Verb
from accounts.policy import Action
from releases.models import Rollout

Status = Rollout.Status
_UNSTARTED = (Status.DRAFT, Status.AWAITING_APPROVAL)
_LIVE = (Status.RUNNING, Status.PAUSED)

VERBS = [
    Verb(
        "start",
        "Start",
        "Start the rollout?",
        "The first stage opens, and its devices are told at once.",
        "The rollout has begun.",
        Action.ROLLOUT_MANAGE,
        (Status.DRAFT,),
        tone="main",
    ),
    Verb(
        "approve",
        "Approve",
        "Let the rollout go?",
        "Somebody else made it; with your word its first stage opens.",
        "Approved.",
        Action.ROLLOUT_APPROVE,
        (Status.AWAITING_APPROVAL,),
        tone="main",
        reason="must",
    ),
    Verb(
        "promote",
        "Next stage",
        "Open the next stage?",
        "Before its soak time is over, a stage is left only with a reason; it is kept.",
        "The next stage is open.",
        Action.ROLLOUT_MANAGE,
        (Status.RUNNING,),
        tone="main",
    ),
    Verb(
        "raise",
        "Percentage",
        "Raise the percentage of the open stage?",
        "Devices that are in stay in; it cannot be lowered again.",
        "Raised.",
        Action.ROLLOUT_MANAGE,
        (Status.RUNNING,),
        asks="admin/releases/rollout/ask_percentage.html",
    ),
    Verb(
        "resume",
        "Resume",
        "Go on?",
        "Devices are told again, where the rollout stood. After a halt this needs a reason.",
        "The rollout goes on.",
        Action.ROLLOUT_MANAGE,
        (Status.PAUSED, Status.HALTED),
        tone="main",
    ),
    Verb(
        "pause",
        "Pause",
        "Pause the rollout?",
        "Nobody new is told, and devices that have not begun to install wait.",
        "Paused.",
        Action.ROLLOUT_STOP,
        (Status.RUNNING,),
    ),
    Verb(
        "holdback",
        "Release the hold-back",
        "Let the held-back devices have it, too?",
        "They were kept out to show what is normal. Afterwards nothing is left to compare with.",
        "The held-back devices take part.",
        Action.ROLLOUT_MANAGE,
        _LIVE,
        reason="must",
    ),
    Verb(
        "drill",
        "Halt drill",
        "Prove that the rules fire?",
        "The judging code is fed a failing and a healthy cohort. No device notices anything.",
        "The rules fire as they should.",
        Action.ROLLOUT_MANAGE,
        _UNSTARTED,
        reason="no",
    ),
    Verb(
        "halt",
        "Halt",
        "Stop the rollout now?",
        "What no device has begun is taken back. What runs, runs to its end.",
        "Halted.",
        Action.ROLLOUT_STOP,
        _LIVE,
        tone="bad",
        reason="must",
    ),
    Verb(
        "rollback",
        "Roll back",
        "Bring every updated device back?",
        "Each one is sent the release it ran before.",
        "The way back has begun.",
        Action.ROLLOUT_MANAGE,
        (*_LIVE, Status.HALTED, Status.COMPLETED),
        tone="bad",
        reason="must",
    ),
]
