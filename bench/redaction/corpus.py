"""Files of a device: log lines as they come, and secrets planted in twenty formats.

The same seed gives the same files. Every planted secret is known, so what is left can be counted.
"""

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PER_FORMAT = 10
_WORDS = [
    "amber",
    "river",
    "lamp",
    "north",
    "cobalt",
    "maple",
    "stone",
    "harbor",
    "violet",
    "engine",
]
_NAMES = ["DB_PASSWORD", "API_KEY", "client_secret", "mqtt.password", "AUTH_TOKEN", "smtp_passwd"]
_ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Planted:
    """Lines with one secret; `secret` must not be found in what is kept."""

    format: str
    path: str
    lines: list[str]
    secret: str


class Seeded:
    """Random texts that are the same in every run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a corpus, not a secret

    def text(self, length: int, letters: str = _ALNUM) -> str:
        return "".join(self.random.choice(letters) for _ in range(length))

    def hex(self, length: int) -> str:
        return self.text(length, "0123456789abcdef")

    def phrase(self) -> str:
        return " ".join(self.random.sample(_WORDS, 4))

    def password(self) -> str:
        return self.text(6) + self.random.choice("!%^*_-+.") + self.text(5)

    def one(self, of: list[str]) -> str:
        return self.random.choice(of)

    def number(self, most: int) -> int:
        return self.random.randrange(most)


Format = Callable[[Seeded], tuple[str, list[str], str]]


def _ini(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    return (
        "etc/app.ini",
        ["[database]", "host = db1", f"password = {secret}", "port = 5432"],
        secret,
    )


def _json(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    told = {"user": "app", seeded.one(_NAMES): secret, "retries": 3}
    return (
        "etc/app.json",
        json.dumps(told, indent=seeded.one(["", "  "]) or None).split("\n"),
        secret,
    )


def _yaml(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    if seeded.number(3) == 0:
        lines = ["db:", "  password: |", f"    {secret}", "  user: app"]
    elif seeded.number(2) == 0:
        lines = ["env:", "  - name: DB_PASSWORD", f"    value: {secret}"]
    else:
        lines = ["db:", f"  {seeded.one(_NAMES).lower()}: {secret}", "  user: app"]
    return "etc/app.yaml", lines, secret


def _env(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    return "etc/default/app", ["MODE=kiosk", f"{seeded.one(_NAMES).upper()}={secret}"], secret


def _systemd(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = f"{seeded.password()} {seeded.text(4)}"
    return "units/app.service", ["[Service]", f'Environment="APP_PASSWORD={secret}"'], secret


def _export(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    return "home/profile.sh", [f"export {seeded.one(_NAMES).upper()}='{secret}'"], secret


def _xml(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    forms = [
        f"<config><password>{secret}</password></config>",
        f'<add key="SmtpPassword" value="{secret}" />',
        f'<connection user="app" password="{secret}"/>',
    ]
    return "etc/app.xml", [seeded.one(forms)], secret


def _wifi(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.phrase()
    forms = [
        ("etc/wpa_supplicant.conf", ["network={", '  ssid="works"', f'  psk="{secret}"', "}"]),
        ("etc/net.nmconnection", ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={secret}"]),
        ("etc/hostapd.conf", ["ssid=works", f"wpa_passphrase={secret}"]),
        ("var/lib/iwd/works.psk", ["[Security]", f"Passphrase={secret}"]),
    ]
    path, lines = forms[seeded.number(4)]
    return path, lines, secret


def _private_key(seeded: Seeded) -> tuple[str, list[str], str]:
    body = [seeded.text(64, _ALNUM + "+/") for _ in range(6)]
    kind = seeded.one(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
    begin, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"
    if seeded.number(3) == 0:
        return "etc/key.json", [json.dumps({"pem": "\n".join([begin, *body, end])})], body[2]
    return "etc/key.pem", [begin, *body, end, "after"], body[seeded.number(6)]


def _header(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.text(40)
    forms = [
        f"> Authorization: Bearer {secret}",
        f"Authorization: Basic {base64.b64encode(secret.encode()).decode()}",
        f'"GET /api" headers={{"authorization": "Token {secret}"}}',
        f"X-Api-Key: {secret}",
    ]
    line = seeded.one(forms)
    wanted = base64.b64encode(secret.encode()).decode() if "Basic" in line else secret
    return "logs/http.log", [_log(seeded, "gateway", line)], wanted


def _cookie(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.text(32)
    forms = [f"Cookie: theme=dark; sessionid={secret}", f"Set-Cookie: sid={secret}; Path=/; Secure"]
    return "logs/http.log", [_log(seeded, "nginx", seeded.one(forms))], secret


def _url(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.text(14)
    forms = [
        f"connecting to postgresql://app:{secret}@db1:5432/app",
        f"git clone https://build:{secret}@git.example.org/app.git",
        f"redis://:{secret}@cache:6379/0 is ready",
        f"GET /video?id=7&access_token={secret}&size=3",
    ]
    return "logs/app.log", [_log(seeded, "app", seeded.one(forms))], secret


def _jwt(seeded: Seeded) -> tuple[str, list[str], str]:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    secret = f"eyJ{seeded.text(60)}.{seeded.text(43)}"
    return "logs/app.log", [_log(seeded, "app", f"session for kiosk: {head}.{secret} ok")], secret


def _aws(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.text(40, _ALNUM + "+/")
    key_id = f"AKIA{seeded.text(16, string.ascii_uppercase + string.digits)}"
    if seeded.number(2):
        return "logs/sync.log", [_log(seeded, "sync", f"using {key_id} for upload")], key_id
    lines = ["[default]", "region = eu-west-1", f"aws_secret_access_key = {secret}"]
    return "home/aws-credentials", lines, secret


def _vendor(seeded: Seeded) -> tuple[str, list[str], str]:
    forms = [
        f"ghp_{seeded.text(36)}",
        f"glpat-{seeded.text(20)}",
        f"xoxb-{seeded.text(11, string.digits)}-{seeded.text(24)}",
        f"sk_live_{seeded.text(24)}",
        f"github_pat_{seeded.text(40)}",
    ]
    secret = seeded.one(forms)
    return "logs/deploy.log", [_log(seeded, "deploy", f"pushed with {secret}, done")], secret


def _device_token(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.hex(64)
    forms = [
        f"device token {secret} accepted",
        f"X-Device-Token: {secret}",
        f"enrolled with et_{secret}",
        f"TOKEN={secret}",
        f'{{"key": "{secret}"}}',
    ]
    return "logs/agent.log", [_log(seeded, "fleet-agent", seeded.one(forms))], secret


def _netrc(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.password()
    if seeded.number(2):
        return "home/.netrc", [f"machine git.example.org login bot password {secret}"], secret
    return "home/.netrc", ["machine git.example.org", "  login bot", f"  password {secret}"], secret


def _shadow(seeded: Seeded) -> tuple[str, list[str], str]:
    kind = seeded.one(["6", "y", "5", "1"])
    secret = f"{seeded.text(16)}${seeded.text(43, _ALNUM + './')}"
    return "etc/shadow", [f"pi:${kind}${secret}:19700:0:99999:7:::"], secret


def _docker(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = base64.b64encode(f"bot:{seeded.text(18)}".encode()).decode()
    lines = [
        "{",
        '  "auths": {',
        '    "registry.example.org": {',
        f'      "auth": "{secret}"',
        "    }",
    ]
    return "home/docker-config.json", lines, secret


def _connection(seeded: Seeded) -> tuple[str, list[str], str]:
    secret = seeded.text(14)
    forms = [
        f"Server=db1;Database=app;User Id=app;Password={secret};Encrypt=true",
        f"host=db1 port=5432 user=app password={secret} dbname=app",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={secret};EndpointSuffix=x",
        f"app:{secret}@tcp(db1:3306)/app",
        f"mosquitto_pub -h broker --password {secret} -t state",
    ]
    return "logs/app.log", [_log(seeded, "app", seeded.one(forms))], secret


FORMATS: dict[str, Format] = {
    "ini": _ini,
    "json": _json,
    "yaml": _yaml,
    "env": _env,
    "systemd": _systemd,
    "shell export": _export,
    "xml": _xml,
    "wi-fi": _wifi,
    "private key": _private_key,
    "authorization": _header,
    "cookie": _cookie,
    "url": _url,
    "jwt": _jwt,
    "aws": _aws,
    "vendor token": _vendor,
    "device token": _device_token,
    "netrc": _netrc,
    "shadow": _shadow,
    "docker": _docker,
    "connection string": _connection,
}


def planted(seed: int = 7) -> Iterator[Planted]:
    """Yield `PER_FORMAT` secrets in each format."""
    seeded = Seeded(seed)
    for name, make in FORMATS.items():
        for _ in range(PER_FORMAT):
            path, lines, secret = make(seeded)
            yield Planted(name, path, lines, secret)


# What devices say all day, and lines that only look as if they held a secret.
_USUAL = [
    "systemd[1]: Started {word} service.",
    "systemd[1]: Starting Forward Password Requests to Wall Directory Watch...",
    "systemd[1]: systemd-ask-password-wall.path: Deactivated successfully.",
    "systemd[1]: Reached target Local File Systems.",
    "kernel: [{n}.{n}] usb 1-1.{d}: new high-speed USB device number {d} using xhci_hcd",
    "kernel: [{n}.{n}] Key type dns_resolver registered",
    "kernel: [{n}.{n}] Asymmetric key parser 'x509' registered",
    "kernel: [{n}.{n}] random: crng init done (trusting CPU's manufacturer)",
    "kernel: [{n}.{n}] pinctrl-bcm2835 fe200000.gpio: pin gpio{d} already requested",
    "kernel: [{n}.{n}] EXT4-fs (mmcblk0p2): mounted filesystem with ordered data mode. Quota: none",
    'kernel: [{n}.{n}] audit: type=1400 audit(1700000000.{n}:{d}): apparmor="STATUS"',
    "sshd[{n}]: Failed password for invalid user admin from 10.0.{d}.{d} port {n} ssh2",
    "sshd[{n}]: Accepted publickey for pi from 10.0.{d}.{d} port {n} ssh2: ED25519 SHA256:{digest}",
    "sshd[{n}]: pam_unix(sshd:session): session opened for user pi(uid=1000) by (uid=0)",
    "sudo: pi : TTY=pts/0 ; PWD=/home/pi ; USER=root ; COMMAND=/usr/bin/journalctl -k",
    "sudo: pam_unix(sudo:auth): authentication failure; logname= uid=1000 euid=0 tty=/dev/pts/0",
    "passwd[{n}]: password for 'pi' changed by 'root'",
    "NetworkManager[{n}]: <info> device (wlan0): (wifi) connection '{word}' has security, and"
    " secrets exist. No new secrets needed.",
    "NetworkManager[{n}]: <info> [{n}.{n}] Config: added 'key_mgmt' value 'WPA-PSK WPA-PSK-SHA256'",
    "NetworkManager[{n}]: <info> [{n}.{n}] Config: added 'psk' value '<hidden>'",
    "wpa_supplicant[{n}]: wlan0: WPA: Key negotiation completed with aa:bb:cc:00:11:{d} [PTK=CCMP]",
    "dhcpcd[{n}]: wlan0: leased 192.168.{d}.{d} for 86400 seconds",
    'dockerd[{n}]: time="2026-11-20T10:00:{d}Z" level=info msg="Loading containers: done."',
    'dockerd[{n}]: level=info msg="ignoring event" container={hex64} module=libcontainerd',
    'containerd[{n}]: level=info msg="loading plugin" id=io.containerd.grpc.v1.{word}',
    "app[{n}]: GET /api/v1/devices?page={d}&page_size=50 200 {d}ms",
    "app[{n}]: request_id=01890a5d-ac96-774b-bcce-{hex12} status=200 duration_ms={d}",
    "app[{n}]: token expired, asking for a new one",
    "app[{n}]: Error: invalid token: unexpected end of input at line {d}",
    "app[{n}]: max_tokens=4096 tokens_used={d} prompt_tokens: {d}",
    "app[{n}]: cache key={word}:{d} hit=true",
    "app[{n}]: keyboard layout: us, keymap={word}",
    "app[{n}]: reading token_file=/run/secrets/token",
    "app[{n}]: password_file: /etc/app/password.txt",
    "app[{n}]: DB_PASSWORD=${{DB_PASSWORD}} is not set",
    "app[{n}]: artifact sha256:{hex64} verified",
    "app[{n}]: checksum {hex64}  rootfs.img",
    "app[{n}]: authentication: enabled, author={word}",
    "app[{n}]: secret {word} not found in namespace default",
    "app[{n}]: wrong password: try again",
    "app[{n}]: PasswordAuthentication no",
    "chronyd[{n}]: Selected source 192.168.{d}.1 (time{d}.example.org)",
    "mosquitto[{n}]: New client connected from 10.0.0.{d}:{n} as {word}-{d} (p2, c1, u'{word}').",
    "kiosk[{n}]: https://signage.example.org:8443/screens/{d}?lang=en&v={n} loaded in {d} ms",
    "cron[{n}]: (root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily)",
]
_PLAIN = [
    "passwd:         files systemd",
    "shadow:         files",
    "root:x:0:0:root:/root:/bin/bash",
    "password   requisite   pam_deny.so",
    "password [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt",
    "#PasswordAuthentication yes",
    "AuthorizedKeysFile .ssh/authorized_keys",
    "openssh-server 1:9.2p1-2+deb12u{d} arm64 secure shell (SSH) server",
    "libsecret-1-0:arm64 0.20.5-3 Secret store",
    "python3-keyring 23.9.3-2 store and access your passwords safely",
    "MemTotal:        {n} kB",
    "/dev/mmcblk0p2  ext4  29G  {d}G  12G  {d}% /",
    "    inet 192.168.{d}.{d}/24 brd 192.168.{d}.255 scope global dynamic eth0",
    "password:",
    "token_type: bearer",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{digest} pi@{word}",
]


def log_lines(count: int, seed: int = 7) -> list[str]:
    """Return lines without any secret."""
    seeded = Seeded(seed)
    return [_filled(seeded, line) for line in _chosen(seeded, count)]


def _chosen(seeded: Seeded, count: int) -> Iterator[str]:
    for _ in range(count):
        if seeded.number(12) == 0:
            yield seeded.one(_PLAIN)
        else:
            yield _stamped(seeded, seeded.one(_USUAL))


def _stamped(seeded: Seeded, line: str) -> str:
    return f"Nov {seeded.number(30) + 1:2d} 10:{seeded.number(60):02d}:00 kiosk-7 {line}"


def _filled(seeded: Seeded, line: str) -> str:
    return line.format(
        word=seeded.one(_WORDS),
        n=seeded.number(9000) + 100,
        d=seeded.number(90) + 1,
        digest=seeded.text(43),
        hex64=seeded.hex(64),
        hex12=seeded.hex(12),
    )


def _log(seeded: Seeded, program: str, text: str) -> str:
    return (
        f"Nov {seeded.number(30) + 1:2d} 10:00:00 kiosk-7 {program}[{seeded.number(900)}]: {text}"
    )
