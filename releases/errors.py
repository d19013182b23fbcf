"""Refusals about releases, rollouts and updates."""

from common.errors import DomainError


class ReleaseFrozen(DomainError):
    """A published release never changes."""

    code = "release_frozen"


class ReleaseConflict(DomainError):
    """The release is in a state that does not allow this."""

    code = "release_state"


class ReleaseInvalid(DomainError):
    """Validation found faults; `findings` lists them."""

    code = "release_invalid"
    http_status = 422


class ArtifactRefused(DomainError):
    """The bundle cannot be taken as it is."""

    code = "artifact_refused"
    http_status = 422


class ArtifactPartRefused(DomainError):
    """A part does not fit what was received; `received` says where to go on."""

    code = "artifact_part"


class LinkRefused(DomainError):
    """The signed link is not valid for this, or any more."""

    code = "link_refused"
    http_status = 403


class TrustConflict(DomainError):
    """The organisation's keys do not allow this yet; the sentence says what to sign."""

    code = "trust_state"


class SignatureRefused(DomainError):
    """A signature is not one the organisation's root knows."""

    code = "signature_refused"
    http_status = 422


class KeyRefused(DomainError):
    """A key file, or a set of keys and its threshold, cannot be used as it is."""

    code = "key_refused"
    http_status = 422


class RolloutConflict(DomainError):
    """The rollout is in a state that does not allow this."""

    code = "rollout_state"


class RolloutRefused(DomainError):
    """The plan cannot be carried out as it is."""

    code = "rollout_refused"
    http_status = 422


class SoakNotOver(DomainError):
    """The soak time of a stage has not passed; `ends_at` says when it will have."""

    code = "soak_not_over"


class RolloutApprovalRefused(DomainError):
    """Somebody else has to approve."""

    code = "approval_refused"
    http_status = 403


class UpdateConflict(DomainError):
    """The update is in a state that does not allow this; `update_status` is the present one."""

    code = "update_state"


class RecoveryRefused(DomainError):
    """The device is not ready for this; the sentence says what is missing."""

    code = "recovery_refused"


class UpdateRefused(DomainError):
    """What was ordered cannot be offered to the device; the sentence says why."""

    code = "update_refused"
