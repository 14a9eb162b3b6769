"""Settings: the only module that reads the environment (.env.example lists every variable).

Two ways to run. Without POSTGRES_HOST the embedded stack serves: PostgreSQL and Valkey below
ARC_DATA_DIR, their secrets generated there. With POSTGRES_HOST the servers are somebody else's: that
is production, and it refuses to start on a missing or default secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import available_timezones

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from arcweb.database.tuning.units import memory
from arcweb.embedded.layout import Layout
from arcweb.environment import Environment
from arcweb.redis_urls import broker_url

django_stubs_ext.monkeypatch()  # lets ModelAdmin[Agent] and the like be written at run time

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(
    Path(dotenv) if (dotenv := os.environ.get("ARC_ENV_FILE", str(BASE_DIR / ".env"))) else None
)

# --- which stack -------------------------------------------------------------------------------
POSTGRES_HOST = env.text("POSTGRES_HOST")
ARC_EMBEDDED = not POSTGRES_HOST
ARC_DATA_DIR = Path(os.path.abspath(BASE_DIR / Path(env.text("ARC_DATA_DIR", "var")).expanduser()))  # noqa: PTH100 - resolve() would follow links
ARC_LAYOUT = Layout(ARC_DATA_DIR)
if ARC_EMBEDDED and (trouble := ARC_LAYOUT.strange_sockets()):
    raise ImproperlyConfigured(trouble)
ARC_PORT = env.integer("ARC_PORT", 8000, low=1, high=65535)
ARC_BIND = env.text("ARC_BIND", "127.0.0.1")
#: As root, the account that PostgreSQL and Valkey run as; empty: `postgres` if there is one, else `nobody`.
ARC_SERVER_USER = env.text("ARC_SERVER_USER")
#: Web and Celery processes of `make run`.
ARC_WEB_THREADS = env.integer("ARC_WEB_THREADS", 8, low=1, high=64)
ARC_WORKERS = env.integer("ARC_WORKERS", 3, low=1, high=64)

# --- security ----------------------------------------------------------------------------------
DEBUG = env.flag("ARC_DEBUG", default=False)
SECRET_KEY = ARC_LAYOUT.read_secret("secret-key") if ARC_EMBEDDED else env.secret("ARC_SECRET_KEY")
ALLOWED_HOSTS = env.words("ARC_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("ARC_CSRF_TRUSTED_ORIGINS", [])
#: Served over HTTPS: secure cookies, HSTS, redirect. Off on the embedded stack, which binds to loopback.
ARC_HTTPS = env.flag("ARC_HTTPS", default=not ARC_EMBEDDED)
SECURE_SSL_REDIRECT = ARC_HTTPS
#: A scrape inside of the stack's own network speaks HTTP; its token was sent before any redirect.
SECURE_REDIRECT_EXEMPT = [r"^metrics$"]
#: A proxy that we trust sets X-Forwarded-Proto and appends the client to X-Forwarded-For.
ARC_BEHIND_PROXY = env.flag("ARC_BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ARC_BEHIND_PROXY else None
SECURE_HSTS_SECONDS = env.integer("ARC_HSTS_SECONDS", 31_536_000 if ARC_HTTPS else 0, low=0, high=63_072_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ARC_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ARC_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Two clones on one machine share the host name, so the cookies carry the port.
SESSION_COOKIE_NAME = f"arc_session_{ARC_PORT}"
CSRF_COOKIE_NAME = f"arc_csrf_{ARC_PORT}"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "base-uri": ["'none'"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "img-src": ["'self'", "data:"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
    }
}

# --- applications ------------------------------------------------------------------------------
INSTALLED_APPS = [
    "arcweb.apps.ArcWebConfig",
    "arcweb.embedded",
    "arcweb.jobs",
    "arcweb.events",
    "arcweb.samples",
    "arcweb.accounts",
    "arcweb.database",
    "arcweb.backups",
    "agents",
    "memories",
    "cache_admin",
    "arcweb.apps.ArcAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_celery_beat",
    "django_htmx",
    "csp",
]
MIDDLEWARE = [
    "arcweb.metrics.middleware.BeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Tokens in pages are masked anew each time, and Django pads what it compresses (CVE-2013-3587, BREACH).
    "django.middleware.gzip.GZipMiddleware",
    # Headers, above whatever answers by itself.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "arcweb.headers.PermissionsPolicyMiddleware",
    "arcweb.backups.restore.middleware.PauseMiddleware",
    "arcweb.away.AwayMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "arcweb.bad_requests.RefuseBadValues",
    "django.middleware.csrf.CsrfViewMiddleware",
    "arcweb.accounts.middleware.AuthenticationMiddleware",
    "arcweb.events.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "arcweb.metrics.middleware.AfterMiddleware",
]
ROOT_URLCONF = "arcweb.urls"
WSGI_APPLICATION = "arcweb.wsgi.application"
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
                "arcweb.accounts.context.theme",
                "arcweb.shell.context",
            ],
        },
    }
]
STATIC_URL = "static/"
#: Where collectstatic puts style sheets and scripts under names that carry their hash.
STATIC_ROOT = env.text("ARC_STATIC_DIR") or str(ARC_DATA_DIR / "static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True  # nothing links to the others
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "arcweb.formats"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- PostgreSQL --------------------------------------------------------------------------------
POSTGRES_USER = env.text("POSTGRES_USER", "arc")
POSTGRES_DB = env.text("POSTGRES_DB", "arc")
POSTGRES_PASSWORD = (
    ARC_LAYOUT.read_secret("postgres-password") if ARC_EMBEDDED else env.secret("POSTGRES_PASSWORD")
)
POSTGRES_PORT = 5432 if ARC_EMBEDDED else env.integer("POSTGRES_PORT", 5432, low=1, high=65535)
POSTGRES_SSLMODE = env.text(
    "POSTGRES_SSLMODE",
    "prefer",
    choices=["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
)
#: "transaction": POSTGRES_HOST is PgBouncer in that mode. Nothing is set for longer than a transaction then.
POSTGRES_POOLER = env.text("POSTGRES_POOLER", "", choices=["", "transaction"])
#: PostgreSQL itself, for backups and restores, where POSTGRES_HOST is a pooler; empty: POSTGRES_HOST.
POSTGRES_DIRECT_HOST = env.text("POSTGRES_DIRECT_HOST")
POSTGRES_DIRECT_PORT = env.integer("POSTGRES_DIRECT_PORT", 5432, low=1, high=65535)
ARC_TEMPLATE_DATABASE = env.text("ARC_TEMPLATE_DATABASE", "arc_template")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "arcweb.postgres",
        "NAME": POSTGRES_DB,
        "USER": POSTGRES_USER,
        "PASSWORD": POSTGRES_PASSWORD,
        "HOST": str(ARC_LAYOUT.socket_dir) if ARC_EMBEDDED else POSTGRES_HOST,
        "PORT": str(POSTGRES_PORT),
        "CONN_MAX_AGE": env.integer("ARC_CONN_MAX_AGE", 60, low=0, high=3600),
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": POSTGRES_POOLER == "transaction",
        "OPTIONS": {
            "application_name": "arcweb",
            "connect_timeout": 2,
            "tcp_user_timeout": 3000,  # ms; a silent peer is given up by the kernel
            "sslmode": "disable" if ARC_EMBEDDED else POSTGRES_SSLMODE,
        },
        # Extensions live in the template database: the application role may not create `vector`.
        "TEST": {"TEMPLATE": ARC_TEMPLATE_DATABASE},
    }
}

#: The machine of the PostgreSQL server, for the page of settings; measured where it is this one.
ARC_POSTGRES_MEMORY = env.text("ARC_POSTGRES_MEMORY")
if ARC_POSTGRES_MEMORY and memory(ARC_POSTGRES_MEMORY) is None:
    raise ImproperlyConfigured(
        f"ARC_POSTGRES_MEMORY is {ARC_POSTGRES_MEMORY!r}, which is no size. "
        "For example: ARC_POSTGRES_MEMORY=16GB"
    )
ARC_POSTGRES_CORES = env.integer("ARC_POSTGRES_CORES", 0, low=0, high=10_000)
#: A replica that lists and search are read from while it is fresh (arcweb.postgres.replica); empty: none.
POSTGRES_REPLICA_HOST = env.text("POSTGRES_REPLICA_HOST")
POSTGRES_REPLICA_PORT = env.integer("POSTGRES_REPLICA_PORT", POSTGRES_PORT, low=1, high=65535)
#: Seconds that it may be behind.
ARC_REPLICA_MAX_LAG_SECONDS = env.number("ARC_REPLICA_MAX_LAG_SECONDS", 5.0, low=0.5, high=3600)
#: Apps whose tables may be read there.
ARC_REPLICA_APPS = ("agents", "memories")
if POSTGRES_REPLICA_HOST:
    DATABASES["replica"] = DATABASES["default"] | {
        "HOST": POSTGRES_REPLICA_HOST,
        "PORT": str(POSTGRES_REPLICA_PORT),
        "TEST": {"MIRROR": "default"},
    }
    DATABASE_ROUTERS = ["arcweb.postgres.replica.Router"]
    MIDDLEWARE.insert(
        MIDDLEWARE.index("arcweb.away.AwayMiddleware") + 1, "arcweb.postgres.own_writes.OwnWritesMiddleware"
    )

#: Seconds that one statement of a page may take; workers and commands have no such limit.
ARC_WEB_STATEMENT_SECONDS = env.number("ARC_WEB_STATEMENT_SECONDS", 10.0, low=0.5, high=600)

# --- Redis: two roles --------------------------------------------------------------------------
REDIS_MAXMEMORY = env.text("REDIS_MAXMEMORY", "256mb")
REDIS_MAXMEMORY_POLICY = env.text(
    "REDIS_MAXMEMORY_POLICY",
    "allkeys-lru",
    choices=[
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "noeviction",
    ],
)
REDIS_URL = env.redis_url("REDIS_URL", judged=not ARC_EMBEDDED) or (
    ARC_LAYOUT.redis_url("cache")
    if ARC_EMBEDDED
    else f"redis://:{quote(env.secret('REDIS_PASSWORD'), safe='')}@localhost:6379/0"
)
#: With REDIS_URL alone both roles share one server; a system check says what that risks.
REDIS_STATE_URL = env.redis_url("REDIS_STATE_URL", judged=not ARC_EMBEDDED) or (
    ARC_LAYOUT.redis_url("state") if ARC_EMBEDDED and not env.text("REDIS_URL") else REDIS_URL
)
#: Seconds. redis-py 8 retries for minutes unless told otherwise; a page must answer in one.
ARC_REDIS_TIMEOUT = env.number("ARC_REDIS_TIMEOUT", 0.5, low=0.05, high=30)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "arcweb",
        "OPTIONS": {
            # JSON, never pickle: a value in Redis must not be able to run code.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": ARC_REDIS_TIMEOUT,
            "SOCKET_TIMEOUT": ARC_REDIS_TIMEOUT,
            "CONNECTION_POOL_KWARGS": {"retry": None, "client_name": "arcweb-cache"},
        },
    }
}

# --- sessions and accounts ---------------------------------------------------------------------
SESSION_ENGINE = "arcweb.accounts.sessions"
#: A login ends after so many seconds at the latest, and after so many without being used.
ARC_SESSION_SECONDS = env.integer("ARC_SESSION_SECONDS", 12 * 3600, low=300, high=90 * 86400)
ARC_SESSION_IDLE_SECONDS = env.integer("ARC_SESSION_IDLE_SECONDS", 2 * 3600, low=300, high=90 * 86400)
#: The cookie outlives the login by a day, so that the login page can say why it ended.
SESSION_COOKIE_AGE = ARC_SESSION_SECONDS + 86400
#: Failed logins to one account from one address until they are refused, and for how many seconds.
ARC_LOGIN_FAILURES = env.integer("ARC_LOGIN_FAILURES", 5, low=1, high=1000)
ARC_LOGIN_LOCK_SECONDS = env.integer("ARC_LOGIN_LOCK_SECONDS", 900, low=1, high=86400)
#: Rate limits (the page Rate limits): so many a minute in the long run, and so many at once.
ARC_LIMIT_SEARCH = env.integer("ARC_LIMIT_SEARCH", 300, low=1, high=1_000_000)
ARC_LIMIT_SEARCH_BURST = env.integer("ARC_LIMIT_SEARCH_BURST", 100, low=1, high=1_000_000)
ARC_LIMIT_API = env.integer("ARC_LIMIT_API", 600, low=1, high=1_000_000)
ARC_LIMIT_API_BURST = env.integer("ARC_LIMIT_API_BURST", 100, low=1, high=1_000_000)
ARC_LIMIT_LOGIN = env.integer("ARC_LIMIT_LOGIN", 10, low=1, high=10_000)
ARC_LIMIT_LOGIN_BURST = env.integer("ARC_LIMIT_LOGIN_BURST", 10, low=1, high=10_000)
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"  # where there is no way back, or one that leads elsewhere
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- Celery ------------------------------------------------------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_STATE_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A task that runs longer is delivered again; the ledger's conditional claim makes that harmless.
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "global_keyprefix": "arcweb:celery:",
    "client_name": "arcweb-celery",
}
# The request that enqueues must not wait for a dead broker: the reconciler sends what was lost.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A worker without --queues serves both. What must happen within seconds never waits behind long jobs.
CELERY_TASK_QUEUES: dict[str, dict[str, Any]] = {"celery": {}, "quick": {}}
CELERY_TASK_ROUTES = {
    "arcweb.jobs.tasks.reconcile": {"queue": "quick"},
    "memories.tasks.embed_pending": {"queue": "quick"},
    "arcweb.events.tasks.*": {"queue": "quick"},
    "arcweb.samples.tasks.*": {"queue": "quick"},
    "arcweb.database.tasks.*": {"queue": "quick"},
    # Where the archive of the log is, and reading manifests takes its time: exact names go before patterns.
    "arcweb.backups.tasks.tend_archive": {"queue": "celery"},
    "arcweb.backups.tasks.scan_folder": {"queue": "celery"},
    "arcweb.backups.tasks.*": {"queue": "quick"},
}
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "arcweb.beat:SigningScheduler"
CELERY_BEAT_SCHEDULE_FILENAME = str(ARC_DATA_DIR / "run" / "beat-schedule")

#: Seconds without a heartbeat after which a running job is taken from its worker.
ARC_JOB_LOST_AFTER = env.integer("ARC_JOB_LOST_AFTER", 30, low=6, high=3600)
#: Days that samples, the figures behind the charts, are kept.
ARC_SAMPLE_DAYS = env.integer("ARC_SAMPLE_DAYS", 14, low=1, high=3650)

# --- metrics -----------------------------------------------------------------------------------
#: /metrics is off unless one of the two is set; with both, a scrape needs both.
ARC_METRICS_TOKEN = env.secret("ARC_METRICS_TOKEN") if env.text("ARC_METRICS_TOKEN") else ""
ARC_METRICS_ADDRESSES = env.networks("ARC_METRICS_ADDRESSES")
#: One process answers requests (its threads share the counters). With more, prometheus_client itself reads
#: this variable, and they share the folder.
PROMETHEUS_MULTIPROC_DIR = env.text("PROMETHEUS_MULTIPROC_DIR")
PROMETHEUS_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float("inf"))

# --- backups -----------------------------------------------------------------------------------
#: Copies and their manifests, restore journals, the list of erasures.
ARC_BACKUP_DIR = Path(env.text("ARC_BACKUP_DIR") or ARC_DATA_DIR / "backups")
#: The write-ahead log's archive, where PostgreSQL itself writes it; embedded: below the servers' folder.
ARC_WAL_ARCHIVE_DIR = env.text("ARC_WAL_ARCHIVE_DIR")
#: Days back to which any moment can be restored, with base backups; older log is removed.
ARC_WAL_DAYS = env.integer("ARC_WAL_DAYS", 14, low=1, high=3650)
#: The folder of pg_dump and its like; empty: the embedded ones, else of the server's version on this machine.
ARC_POSTGRES_TOOLS = env.text("ARC_POSTGRES_TOOLS")
#: For physical backups: the role arc_replication's password; empty with other servers: none are taken.
ARC_REPLICATION_USER = env.text("ARC_REPLICATION_USER", "arc_replication")
ARC_REPLICATION_PASSWORD = ""
if ARC_EMBEDDED:
    ARC_REPLICATION_PASSWORD = ARC_LAYOUT.read_secret("replication-password")
elif env.text("ARC_REPLICATION_PASSWORD"):
    ARC_REPLICATION_PASSWORD = env.secret("ARC_REPLICATION_PASSWORD")
#: The zone in which people read the times of schedules beside UTC; empty: UTC alone.
ARC_LOCAL_ZONE = env.text("ARC_LOCAL_ZONE")
if ARC_LOCAL_ZONE and ARC_LOCAL_ZONE not in available_timezones():
    raise ImproperlyConfigured(
        f"ARC_LOCAL_ZONE is {ARC_LOCAL_ZONE!r}, which is no time zone. One is ARC_LOCAL_ZONE=Europe/Berlin"
    )
#: Megabytes a second that a backup may read; 0: no limit.
ARC_BACKUP_RATE_MB = env.number("ARC_BACKUP_RATE_MB", 0.0, low=0, high=100_000)
#: Recipients of age (age1…), with commas: copies are encrypted to them. Whoever restores needs the identity.
ARC_BACKUP_RECIPIENTS = env.words("ARC_BACKUP_RECIPIENTS", [])
#: A file with age identities (AGE-SECRET-KEY-1…); without it encrypted copies can only be hashed here.
ARC_BACKUP_IDENTITY_FILE = env.text("ARC_BACKUP_IDENTITY_FILE")
#: The largest file that somebody may upload as a copy.
ARC_BACKUP_MAX_UPLOAD_GB = env.number("ARC_BACKUP_MAX_UPLOAD_GB", 50.0, low=0.001, high=100_000)
#: S3-compatible storage that gets every copy too; empty: none.
ARC_BACKUP_S3_BUCKET = env.text("ARC_BACKUP_S3_BUCKET")
ARC_BACKUP_S3_PREFIX = env.text("ARC_BACKUP_S3_PREFIX", "arcweb")
ARC_BACKUP_S3_ENDPOINT = env.text("ARC_BACKUP_S3_ENDPOINT")
ARC_BACKUP_S3_REGION = env.text("ARC_BACKUP_S3_REGION", "us-east-1")
ARC_BACKUP_S3_KEY_ID = env.text("ARC_BACKUP_S3_KEY_ID")
ARC_BACKUP_S3_SECRET = env.secret("ARC_BACKUP_S3_SECRET") if ARC_BACKUP_S3_BUCKET else ""

# --- embedding ---------------------------------------------------------------------------------
ARC_EMBEDDING_PROVIDER = env.text("ARC_EMBEDDING_PROVIDER", "local", choices=["local", "openai"])
#: Where the one process that holds the local model listens: http://host:port, a socket's path, or
#: empty to load the model into the process that asks.
ARC_MODEL_SERVER = env.text("ARC_MODEL_SERVER", str(ARC_LAYOUT.model_socket) if ARC_EMBEDDED else "")
OPENAI_API_KEY = env.text("OPENAI_API_KEY")
OPENAI_BASE_URL = env.text("OPENAI_BASE_URL", "https://api.openai.com/v1")
ARC_OPENAI_MODEL = env.text("ARC_OPENAI_MODEL", "text-embedding-3-small")
#: Ask the provider to shorten its vectors to this many dimensions; 0: its own number.
ARC_OPENAI_DIMENSIONS = env.integer("ARC_OPENAI_DIMENSIONS", 0, low=0, high=1536)
ARC_OPENAI_TIMEOUT = env.number("ARC_OPENAI_TIMEOUT", 30.0, low=1, high=600)
ARC_OPENAI_RETRIES = env.integer("ARC_OPENAI_RETRIES", 3, low=0, high=10)
#: The model behind vectors that other services store; empty: unknown, and they are compared with nothing.
ARC_EXTERNAL_MODEL = env.text("ARC_EXTERNAL_MODEL")
#: Seconds a search waits for the embedding of its query before it answers by keyword.
ARC_QUERY_DEADLINE = env.number("ARC_QUERY_DEADLINE", 2.0, low=0.1, high=30)
ARC_MAX_UPLOAD_MB = env.integer("ARC_MAX_UPLOAD_MB", 20, low=1, high=512)
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000  # the confirmation of an action on a list has a field for each row
DATA_UPLOAD_MAX_MEMORY_SIZE = ARC_MAX_UPLOAD_MB * 1024 * 1024

# --- alerts ------------------------------------------------------------------------------------
#: Where people open this site: links in messages begin with it; empty: they are paths alone.
ARC_PUBLIC_URL = env.text("ARC_PUBLIC_URL")
ARC_ALERT_EMAILS = env.words("ARC_ALERT_EMAILS", [])
#: Addresses that get each alert as JSON. Only the environment says them: they are reached from here.
ARC_ALERT_WEBHOOKS = env.words("ARC_ALERT_WEBHOOKS", [])
#: Hosts of webhooks that may be inside (private, loopback) and may be reached without TLS.
ARC_ALERT_WEBHOOK_INSIDE = env.words("ARC_ALERT_WEBHOOK_INSIDE", [])
#: Signs what is sent to webhooks; empty: unsigned.
ARC_ALERT_WEBHOOK_SECRET = env.text("ARC_ALERT_WEBHOOK_SECRET")
EMAIL_HOST = env.text("ARC_EMAIL_HOST")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = env.integer("ARC_EMAIL_PORT", 587, low=1, high=65535)
EMAIL_HOST_USER = env.text("ARC_EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("ARC_EMAIL_PASSWORD")
ARC_EMAIL_SECURITY = env.text("ARC_EMAIL_SECURITY", "starttls", choices=["starttls", "ssl", "none"])
EMAIL_USE_TLS = ARC_EMAIL_SECURITY == "starttls"
EMAIL_USE_SSL = ARC_EMAIL_SECURITY == "ssl"
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = env.text("ARC_EMAIL_FROM", "arcweb@localhost")

# --- logging -----------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["console"],
        "level": env.text("ARC_LOG_LEVEL", "INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]),
    },
    "loggers": {
        # Three lines for each of the beat's tasks, every few seconds; what matters is in the job ledger.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
    },
}
