"""Every setting comes from the environment; docs/configuration in README.md names them all."""

import logging
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from common import limits, logs, signing
from fleetsite import env, navigation, object_storage
from fleetsite.embedded import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var"))).resolve()

if "DATABASE_URL" not in os.environ and "DATABASE_URL_FILE" not in os.environ:
    # `make up` in another terminal: its servers and secrets serve this process too.
    for _name, _value in environment(VAR_DIR).items():
        os.environ.setdefault(_name, _value)

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
JWT_KEY = env.text("JWT_KEY")
SIGNING_KEY = env.text("SIGNING_KEY", "")
if SIGNING_KEY:
    try:
        signing.seed_of(SIGNING_KEY)
    except ValueError:
        raise ImproperlyConfigured(
            "SIGNING_KEY must be 32 random bytes, as 64 hex characters or as base64."
        ) from None
# No repository of trust is made with the portal's key alone: publishing waits for the ceremony.
TRUST_OFFLINE_ROOT = env.flag("TRUST_OFFLINE_ROOT", default=False)
FLEET_URL = env.text("FLEET_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "*")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", FLEET_URL)
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", 0, most=8)
SECURE = FLEET_URL.startswith("https://")
# Endpoints that make updates fail on purpose: for rehearsals, never for production.
CHAOS_HOOKS = env.flag("FLEET_CHAOS", default=False)


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgresql://.")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", unquote(parts.hostname or ""))
    timeout = env.text("STATEMENT_TIMEOUT_MS", "5000")
    options["options"] = (
        f"-c statement_timeout={int(timeout)} -c lock_timeout=2000"
        " -c idle_in_transaction_session_timeout=15000 -c timezone=UTC"
    )
    options["connect_timeout"] = 5
    options["application_name"] = env.text("SERVICE_NAME", "fleet-portal")
    pooled = env.flag("DATABASE_POOL", default=False)
    if pooled:
        options["pool"] = {"min_size": 1, "max_size": 16, "timeout": 5}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 0 if pooled else 60,
        "CONN_HEALTH_CHECKS": not pooled,
        "ATOMIC_REQUESTS": True,
        "OPTIONS": options,
    }


DATABASES = {"default": _database(env.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "accounts.admin_config.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_prometheus",
    "django_structlog",
    "guardian",
    "import_export",
    "common",
    "audit",
    "accounts",
    "devices",
    "commands",
    "releases",
    "governance",
    "gateway",
    "console",
    "fleetsite",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "common.middleware.RequestIdMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "console.middleware.ContentSecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.PrincipalMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "fleetsite.urls"
WSGI_APPLICATION = "fleetsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.console",
            ],
        },
    }
]

# --- people ---
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "accounts.backends.PortalBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ANONYMOUS_USER_NAME = None  # guardian: no stand-in row for strangers
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
ACCOUNT_ADAPTER = "accounts.adapters.PortalAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
# The portal's own limiter counts sign-ins: allauth's locks an account for everybody.
ACCOUNT_RATE_LIMITS: dict[str, str] = {"login_failed": "", "login": ""}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Fleet portal"
MFA_FORMS = {
    "authenticate": "accounts.mfa_forms.CountedAuthenticateForm",
    "reauthenticate": "accounts.mfa_forms.CountedReauthenticateForm",
}

# --- browsers ---
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
# The proxy redirects to HTTPS: nothing but the proxy reaches this process.
SECURE_SSL_REDIRECT = False
SILENCED_SYSTEM_CHECKS = ["security.W008"]
SECURE_HSTS_SECONDS = 365 * 86_400 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_HSTS_PRELOAD = SECURE
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * limits.BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# --- files ---
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(VAR_DIR / "media")))
TESTING = "pytest" in sys.modules
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "artifacts": object_storage.storage_of(env.text("ARTIFACT_STORAGE_URL", "")),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
# Links to bundles then lead to the store itself: only where devices reach it.
ARTIFACT_PRESIGNED = env.flag("ARTIFACT_PRESIGNED", default=False)
# Where nginx serves bundles itself: its internal location of MEDIA_ROOT.
ARTIFACT_ACCEL_PREFIX = env.text("ARTIFACT_ACCEL_PREFIX", "").rstrip("/")
WHITENOISE_USE_FINDERS = TESTING

# --- words and time ---
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

# --- API ---
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "devices.authentication.DeviceTokenAuthentication",
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.JWTAuthentication",
        "accounts.authentication.SessionPrincipalAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.HoldsRight"],
    "DEFAULT_PARSER_CLASSES": ["common.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "common.paging.Pages",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
        "rest_framework.filters.OrderingFilter",
    ],
    "DEFAULT_SCHEMA_CLASS": "common.openapi.PortalSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "common.negotiation.JsonAlways",
    "EXCEPTION_HANDLER": "common.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Fleet portal",
    "DESCRIPTION": "Devices, commands, accounts and audit of a fleet of Linux devices.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "ENFORCE_NON_BLANK_FIELDS": True,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gateway.openapi.add_gateway_paths",
        "common.openapi.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "accounts.policy.Role",
        "HealthEnum": "devices.models.Device.Health",
        "LifecycleEnum": "devices.models.Device.Lifecycle",
        "SegmentEnum": "devices.models.Device.Segment",
        "SeverityEnum": "devices.models.DeviceEvent.Severity",
        "BundleStatusEnum": "commands.models.SupportBundle.Status",
        "CommandStatusEnum": "commands.models.Command.Status",
        "BatchStatusEnum": "commands.models.CommandBatch.Status",
        "ReleaseStateEnum": "releases.models.Release.State",
        "ArtifactStatusEnum": "releases.models.Artifact.Status",
        "RolloutStatusEnum": "releases.models.Rollout.Status",
        "UpdateStatusEnum": "releases.models.DeviceUpdate.Status",
        "UpdateKindEnum": "releases.models.DeviceUpdate.Kind",
        "UpdateFailureEnum": "releases.models.DeviceUpdate.FailureClass",
        "FailureClassEnum": "commands.models.Command.FailureClass",
        "ReportedFailureEnum": ["network", "failed"],
    },
}

# --- background work (reasons: docs/architecture.md) ---
REDIS_URL = env.text("REDIS_URL")
# redis-py and kombu spell a Unix socket differently.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_VISIBILITY_TIMEOUT = 600
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 15,
}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 600}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1}
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")

# --- logs ---
logs.configure()
LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise ImproperlyConfigured(f"LOG_LEVEL is “{LOG_LEVEL}”; allowed: DEBUG, INFO, WARNING, ERROR.")
LOGGING = logs.logging_config(LOG_LEVEL)
DJANGO_STRUCTLOG_CELERY_ENABLED = False
# The proxy makes the id, or passes on the one it was given.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
# Whoever leaves a page hangs up its stream.
DJANGO_STRUCTLOG_REQUEST_CANCELLED_LOG_LEVEL = logging.INFO

# --- console ---
UNFOLD = navigation.UNFOLD
IMPORT_EXPORT_SKIP_ADMIN_LOG = True
