"""Every cap of the product, once: validators, the OpenAPI schema and the tests read it here."""

from datetime import timedelta

# --- bodies ---
BODY_BYTES = 1 * 1024 * 1024
JSON_DEPTH = 32
JSON_KEYS = 256
STRING_CHARS = 8 * 1024
BIGINT_MAX = 2**63 - 1
INT_MAX = 2**31 - 1
IDEMPOTENCY_KEY_CHARS = 255

# --- names ---
DEVICE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
COMMIT_PATTERN = r"^[0-9a-f]{7,64}$"
# A part of paths, of the API and of signed manifests.
RELEASE_ROLE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
CHANNEL_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
SLUG_CHARS = 63
NAME_CHARS = 120
SHORT_CHARS = 64
LINE_CHARS = 255
TEXT_CHARS = 4 * 1024
TAGS = 32

# --- pages ---
PAGE_SIZE = 50
PAGE_SIZE_MAX = 200
PAGE_MAX = 100_000
METRIC_POINTS_MAX = 2_000
EXPORT_ROWS_XLSX = 50_000

# --- heartbeats ---
HEARTBEAT_BODY_BYTES = 64 * 1024
HEARTBEAT_BATCH = 500
HEARTBEAT_ERRORS = 50
HEARTBEAT_INTERVAL_MIN_S = 5
HEARTBEAT_INTERVAL_MAX_S = 86_400
DEVICE_CLOCK_TRUST = timedelta(days=1)

# --- commands ---
COMMANDS_PER_DEVICE = 100
COMMAND_BULK_DEVICES = 1_000
COMMAND_TTL_MIN_S = 10
COMMAND_TTL_MAX_S = 30 * 86_400
COMMAND_TTL_S = 3_600
COMMAND_LEASE = timedelta(seconds=60)
COMMAND_RUN_S = 2 * 3_600
COMMAND_RUN_MAX_S = 7 * 86_400
COMMAND_STEP_MAX_S = 86_400
COMMAND_ATTEMPTS_MAX = 10
COMMAND_RETRIES_MAX = 10
COMMAND_BACKOFF_S = 30
COMMAND_BACKOFF_MAX_S = 3_600
COMMAND_CANCEL_S = 60
COMMAND_CANCEL_MAX_S = 86_400
COMMAND_RECONNECT_S = 24 * 3_600
COMMAND_PAYLOAD_BYTES = 64 * 1024
CLAIM_WAIT_MAX_S = 60
CLAIM_MAX = 10
STREAM_LIFE_S = 15 * 60
STREAM_COMMENT_S = 15
# Streams of people and API keys in one process: of each, and altogether.
STREAMS_PER_CALLER = 5
STREAMS_OF_PEOPLE = 500
LOG_LINES_MAX = 5_000
COMMAND_OUTPUT_CHARS = 64 * 1024
COMMAND_ERROR_CHARS = 4 * 1024
# Output that is streamed while a command runs: one piece, and all of one attempt.
OUTPUT_CHUNK_CHARS = 16 * 1024
OUTPUT_TOTAL_CHARS = 1024 * 1024

# --- batches ---
BATCH_DEVICES = 100_000
# Named one by one; more are chosen by group, tags or filter.
BATCH_LISTED = 10_000
BATCH_CHUNK = 1_000
BATCH_SHOWN = 100
BATCH_WAVES = 20
BATCH_ABORT_RULES = 8
BATCH_PAUSE_MAX_S = 30 * 86_400

# --- stored scripts ---
SCRIPT_CHARS = 64 * 1024
SCRIPT_RUN_S = 300
SCRIPT_RUN_MAX_S = 24 * 3_600
SCRIPT_REPORT_S = 60
SCRIPT_ARGUMENTS = 32
SCRIPT_OUTPUT_MIN_BYTES = 1024

# --- support bundles ---
BUNDLE_BYTES = 50 * 1024 * 1024
BUNDLE_PART_BYTES = 4 * 1024 * 1024
BUNDLE_MEMBERS = 2_000
BUNDLE_MEMBER_BYTES = 100 * 1024 * 1024
BUNDLE_UNPACKED_BYTES = 200 * 1024 * 1024
BUNDLE_RATIO = 200
BUNDLE_NAME_CHARS = 255
# A longer line is kept in pieces of this many bytes.
BUNDLE_LINE_BYTES = 64 * 1024
BUNDLE_FINDINGS = 500
BUNDLE_REPORT_BYTES = 4 * 1024 * 1024
# What the process that reads an archive may use.
BUNDLE_READER_MEMORY_BYTES = 224 * 1024 * 1024
BUNDLE_READER_CPU_S = 180
BUNDLE_READER_WALL_S = 210
BUNDLE_TRIES = 3
# Left free on the disk: the database may live on it.
BUNDLE_DISK_RESERVE_BYTES = 64 * 1024 * 1024
# One look into a kept bundle.
BUNDLE_PAGE_LINES = 500
BUNDLE_PAGE_LINES_MAX = 2_000
BUNDLE_PAGE_BYTES = 2 * 1024 * 1024
BUNDLE_SEARCH_MATCHES = 200
BUNDLE_SEARCH_S = 5
BUNDLE_PEERS = 5

# --- releases ---
CHANGELOG_CHARS = 16 * 1024
RELEASE_ROLES = 32
RELEASE_FLAGS = 64
RELEASE_FINDINGS = 200
ARTIFACT_BYTES = 2 * 1024 * 1024 * 1024
# In a form that makes a release at once.
ARTIFACT_FORM_BYTES = 256 * 1024 * 1024
ARTIFACT_PART_BYTES = 8 * 1024 * 1024
ARTIFACT_MEMBERS = 20_000
ARTIFACT_MEMBER_BYTES = 1024 * 1024 * 1024
ARTIFACT_UNPACKED_BYTES = 8 * 1024 * 1024 * 1024
ARTIFACT_RATIO = 200
ARTIFACT_NAME_CHARS = 255
# A compose file, an env template, a list of checksums: read whole.
ARTIFACT_TEXT_BYTES = 1024 * 1024
# Of one link to a bundle, seconds.
ARTIFACT_LINK_S = 300
# What the process that reads a bundle may use.
ARTIFACT_READER_MEMORY_BYTES = 256 * 1024 * 1024
ARTIFACT_READER_CPU_S = 240
ARTIFACT_READER_WALL_S = 280
ARTIFACT_REPORT_BYTES = 16 * 1024 * 1024
# Left free on the disk: the database may live on it.
ARTIFACT_DISK_RESERVE_BYTES = 64 * 1024 * 1024
# Releases whose bundles stay whatever else is true, counted from the newest.
RELEASES_KEPT = 10
# An upload that nobody went on with for so long is thrown away.
ARTIFACT_UPLOAD_LEFT = timedelta(days=1)

# --- trust ---
TRUST_KEYS = 16
TRUST_SIGNATURES = 32
# Of a signed file that is handed in: what lists many releases is long.
TRUST_FILE_BYTES = 4 * 1024 * 1024
# Days until signed metadata of a role expires. The portal signs its own again at half of it.
TRUST_ROOT_DAYS = 365
TRUST_TARGETS_DAYS = 365
TRUST_GENERAL_DAYS = 180
TRUST_STAGED_DAYS = 30
TRUST_SNAPSHOT_DAYS = 7
TRUST_TIMESTAMP_DAYS = 1
# How long before that keepers of offline keys are told.
TRUST_WARN_DAYS = 30
# How long a manifest may be installed.
MANIFEST_DAYS = 3 * 365
# How long a device may still ask for metadata that was superseded.
TRUST_SUPERSEDED_DAYS = 30

# --- rollouts ---
ROLLOUT_DEVICES = 1_000_000
ROLLOUT_RULES = 8
ROLLOUT_BLACKOUTS = 64
ROLLOUT_RATE_MAX = 100_000
# Updates a sweep schedules for one rollout at the most.
ROLLOUT_CHUNK = 2_000
# Updates a halt takes back in its own transaction; the sweep takes back the rest.
HALT_CHUNK = 4_000
SOAK_MAX_MINUTES = 30 * 24 * 60
CALENDAR_WINDOWS = 32

# --- updates on devices ---
UPDATE_TIMEOUT_MAX_MINUTES = 7 * 24 * 60
VERIFY_MAX_MINUTES = 24 * 60
# Of updates no rollout plans: from the offer to the claim, and from the claim to the proof.
UPDATE_TIMEOUT_MINUTES = 120
VERIFY_TIMEOUT_MINUTES = 60
# Devices one sweep marks offline.
OFFLINE_SWEEP_ROWS = 20_000
# Updates one round of a sweep ends at the most.
UPDATE_SWEEP_ROWS = 5_000
# Updates one round looks for a like device for, and devices it looks at of each segment of a
# rollout, of those kept out of it, and of those outside.
PAIRS_PER_ROUND = 2_000
PAIRS_LOOKED_AT = 10_000
UPDATE_TIMINGS = 32
# Of the trail of one update.
UPDATE_STEPS_SHOWN = 200
# Failed updates in a row after which a device takes no more and is put into safe mode.
UPDATE_FAILURES_MAX = 3
# How long it then gets nothing, minutes.
QUARANTINE_MINUTES = 24 * 60

# --- drift and recovery ---
DRIFT_ITEMS = 500
DRIFT_PATH_CHARS = 1024
# Paths one repair names; without any it is all of them.
DRIFT_REPAIR_PATHS = 50
DIAGNOSTICS_BYTES = 256 * 1024
DIAGNOSTIC_CHECKS = 64
# Shown of the updates of a device in trouble.
RECOVERY_UPDATES = 5
QUARANTINE_MAX_MINUTES = 90 * 24 * 60

# --- tokens ---
ENROLLMENT_TTL_MIN_S = 60
ENROLLMENT_TTL_MAX_S = 90 * 86_400
ENROLLMENT_TTL_S = 3_600
ENROLLMENT_USES_MAX = 100_000
TOKEN_OVERLAP = timedelta(hours=72)
ACCESS_TOKEN_TTL = timedelta(minutes=15)
REFRESH_TOKEN_TTL = timedelta(days=14)

# --- sign-in: failures allowed in an hour ---
SIGN_IN_PER_ACCOUNT_HOUR = 10
SIGN_IN_PER_ADDRESS_HOUR = 20
REGISTER_PER_ADDRESS_HOUR = 600
