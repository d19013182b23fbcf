"""docker-compose.yml as data: what it starts exists, what it sets is read, nothing is open."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import limits

PROJECT = Path(__file__).resolve().parents[1]
SERVICES = {
    "postgres", "redis", "migrate", "web", "gateway", "worker", "bundle-worker", "beat",
    "certificate", "proxy",
}  # fmt: skip
OURS = SERVICES - {"postgres", "redis", "proxy"}
FOREIGN = {
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_INITDB_ARGS",
    "REDIS_PASSWORD",
}
SECRETS = {
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "SECRET_KEY",
    "JWT_KEY",
    "SIGNING_KEY",
    "FLEET_ADMIN_PASSWORD",
}
READ = re.compile(
    r"""(?:env\.(?:text|flag|number|words)\(|environ(?:\.get\(|\[))\s*["']([A-Z_]+)["']"""
)


@pytest.fixture(scope="module")
def text() -> str:
    return (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["services"]


def words(command: str | list[str]) -> list[str]:
    """The words of a command, those of a shell line included."""
    return " ".join([command] if isinstance(command, str) else command).split()


def variables_read_by_the_portal() -> set[str]:
    sources = [
        path
        for room in ("fleetsite", "accounts", "common", "devices", "gateway", "deploy", "console")
        for path in (PROJECT / room).rglob("*.py")
        if "tests" not in path.parts
    ]
    return {name for path in sources for name in READ.findall(path.read_text(encoding="utf-8"))}


def test_every_process_of_the_design_is_a_service(services):
    assert set(services) == SERVICES


def test_every_module_and_script_a_command_names_exists(services):
    named = [word for name in OURS for word in words(services[name]["command"])]
    scripts = {word for word in named if word.endswith(".py")}
    modules = {
        word.partition(":")[0] for word in named if re.fullmatch(r"fleetsite[\w.]*(:\w+)?", word)
    }

    assert {"manage.py", "deploy/proxy/make_certificate.py"} <= scripts
    assert not [script for script in scripts if not (PROJECT / script).is_file()]
    assert {"fleetsite", "fleetsite.wsgi", "fleetsite.asgi"} <= modules
    assert not [module for module in modules if importlib.util.find_spec(module) is None]


def test_the_image_holds_every_room_and_script_but_no_secret(services):
    left_out = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rooms = {path.parent.name for path in PROJECT.glob("*/apps.py")}
    checks = [services[name].get("healthcheck", {}).get("test", []) for name in OURS]
    lines = [services[name]["command"] for name in OURS] + checks
    needed = {word.split("/")[0] for line in lines for word in words(line) if word.endswith(".py")}

    assert not (rooms | needed) & set(left_out)
    assert {".env", ".git", "var", "**/*.pem", "**/*.key"} <= set(left_out)


def test_every_variable_that_is_set_is_read(services):
    for name in OURS:
        assert set(services[name]["environment"]) <= variables_read_by_the_portal(), name
    for name in ("postgres", "redis"):
        assert set(services[name]["environment"]) <= FOREIGN


def test_every_secret_comes_from_the_environment_and_has_no_default(text, services):
    for name in SECRETS:
        assert set(re.findall(rf"\${{{name}[^}}]*}}", text)) == {f"${{{name}:?set it in .env}}"}
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert not [name for name in SECRETS if not re.search(rf"^{name}=$", example, re.MULTILINE)]


def test_every_value_compose_asks_for_is_in_the_example(text):
    asked = set(re.findall(r"\${([A-Z_]+):\?", text))
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")

    assert asked == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))


def test_only_the_proxy_is_reachable_from_outside(services):
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]
    assert services["postgres"]["networks"] == services["redis"]["networks"] == ["inside"]
    assert "inside" not in services["proxy"]["networks"]


def test_foreign_images_are_pinned_to_a_major_version(services):
    for name in ("postgres", "redis", "proxy"):
        assert re.fullmatch(r"[\w./-]+:\d+(\.\d+)*(-\w+)?", services[name]["image"]), name


def test_every_process_that_stays_has_a_healthcheck(services):
    for name in SERVICES - {"migrate", "certificate"}:
        assert services[name]["healthcheck"]["test"], name


def test_the_portals_processes_start_after_the_migration(services):
    for name in ("web", "gateway", "worker", "beat"):
        condition = services[name]["depends_on"]["migrate"]["condition"]

        assert condition == "service_completed_successfully"


def test_the_portals_containers_cannot_gain_rights_or_change_their_files(services):
    for name in OURS:
        service = services[name]

        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r"^USER portal$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)


def proxy_blocks() -> dict[str, str]:
    """The locations of the proxy by their first line."""
    proxy = (PROJECT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    return dict(re.findall(r"location ((?:[=~] )?\S+) \{([^}]*)\}", re.sub(r"#.*", "", proxy)))


def mebibytes(block: str) -> int:
    return int(re.findall(r"client_max_body_size (\d+)m;", block)[0])


def longest(path: str) -> str:
    """The block of the one pattern of the proxy that takes this path."""
    (block,) = [
        block
        for name, block in proxy_blocks().items()
        if (name.startswith("~ ") and re.search(name[2:], path)) or name == f"= {path}"
    ]
    return block


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/artifacts/validate",
        "/api/v1/releases/1.4.0/validate",
        "/api/v1/releases/1.4.0/artifacts/any/bundle",
        "/api/v1/releases/1.4.0/artifacts/any/parts",
    ],
)
def test_a_bundle_of_a_release_passes_the_proxy_whole_and_in_time(path):
    block = longest(path)

    assert mebibytes(block) << 20 > limits.ARTIFACT_BYTES
    assert "proxy_request_buffering off;" in block
    assert int(re.findall(r"proxy_read_timeout (\d+)s;", block)[0]) > limits.ARTIFACT_READER_WALL_S
    assert "proxy_pass http://web;" in block


@pytest.mark.parametrize("path", ["/api/v1/releases", "/admin/releases/release/1/upload/"])
def test_a_form_with_a_bundle_passes_the_proxy(path):
    assert mebibytes(longest(path)) << 20 > limits.ARTIFACT_FORM_BYTES


def test_the_proxy_reaches_the_bundles_of_releases_and_nothing_else_of_the_media(services):
    prefix = services["web"]["environment"]["ARTIFACT_ACCEL_PREFIX"]
    inside = {name: block for name, block in proxy_blocks().items() if "alias" in block}

    assert list(inside) == [f"{prefix}/releases/bundles/"]
    assert "internal;" in inside[f"{prefix}/releases/bundles/"]
    assert "alias /srv/media/releases/bundles/;" in inside[f"{prefix}/releases/bundles/"]
    assert "media:/srv/media:ro" in services["proxy"]["volumes"]


def test_every_process_of_the_portal_sees_the_same_media_and_keys(services):
    for name in ("web", "gateway", "worker", "bundle-worker"):
        assert "media:/srv/media" in services[name]["volumes"], name
        assert {"SIGNING_KEY", "TRUST_OFFLINE_ROOT", "ARTIFACT_STORAGE_URL"} <= set(
            services[name]["environment"]
        )


def test_no_location_of_the_proxy_sets_a_header_of_its_own():
    proxy = (PROJECT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")

    assert "proxy_set_header" not in re.sub(r"#.*", "", proxy)
    assert proxy.count("include /etc/nginx/headers.conf;") == 1


def test_a_forged_header_is_replaced_by_the_proxy():
    headers = (PROJECT / "deploy" / "proxy" / "headers.conf").read_text(encoding="utf-8")
    held = dict(re.findall(r"^proxy_set_header ([\w-]+) (.+);$", headers, re.MULTILINE))

    assert held["X-Forwarded-For"] == "$remote_addr"
    for name in ("X-SSL-Client-Verify", "X-SSL-Client-Cert", "X-Forwarded-Host", "Forwarded"):
        assert held[name] == '""'


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/api/v1/devices/r58-1/heartbeat", "gateway"),
        ("/api/v1/devices/r58-1/commands/claim", "gateway"),
        ("/api/v1/telemetry/status", "gateway"),
        ("/api/v1/telemetry/batch", "gateway"),
        ("/api/v1/devices/r58-1/heartbeats", "web"),
        ("/api/v1/devices/r58-1/commands", "web"),
        ("/api/v1/devices", "web"),
    ],
)
def test_the_proxy_sends_each_path_to_the_process_that_serves_it(path, upstream):
    proxy = (PROJECT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    (hot,) = re.findall(r"location ~ (\S+) \{[^}]*proxy_pass http://gateway;", proxy)

    assert (re.search(hot, path) is not None) == (upstream == "gateway")


def test_a_claim_may_wait_its_minute_at_the_proxy():
    proxy = (PROJECT / "deploy" / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    (block,) = re.findall(r"\{([^}]*proxy_pass http://gateway;)", proxy)

    assert "proxy_buffering off;" in block
    assert "proxy_read_timeout 75s;" in block
