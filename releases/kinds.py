"""What releases add to the commands a device can be given."""

from commands.registry import CommandKind
from common import limits

DRIFT_REPAIR = "drift_repair"
SAFE_MODE = "safe_mode"
UPDATE = "update"

KINDS = [
    CommandKind(
        name=DRIFT_REPAIR,
        label="Repair drift",
        description="Put files back as the release says: those named, or all that differ.",
        schema={
            "type": "object",
            "properties": {
                "paths": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits.DRIFT_REPAIR_PATHS,
                    "items": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": limits.DRIFT_PATH_CHARS,
                    },
                }
            },
            "additionalProperties": False,
        },
        disruptive=True,
    ),
    CommandKind(
        name=SAFE_MODE,
        label="Safe mode",
        description="Go to the minimal stack and take no updates, or leave it again.",
        schema={
            "type": "object",
            "properties": {
                "enter": {"type": "boolean"},
                "reason": {"type": "string", "maxLength": limits.LINE_CHARS},
            },
            "required": ["enter"],
            "additionalProperties": False,
        },
        disruptive=True,
    ),
]
