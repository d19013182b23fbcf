"""People, keys and sign-in."""

from tests.routes.shapes import Entry, Operation, get

PUBLIC = dict.fromkeys(
    ["anonymous", "outsider", "device", "viewer", "operator", "limited", "admin", "key"], 200
)

KEY = {"pk": "api_key_id"}

ACCOUNTS = [
    Operation(
        "auth-token",
        "POST",
        body=lambda names: {"email": names["user_email"], "password": names["password"]},
        entries=(Entry("user.sign_in", "user", "user_id"),),
        expect=PUBLIC,
    ),
    Operation(
        "auth-refresh",
        "POST",
        body=lambda names: {"refresh": names["refresh"]},
        unlogged="goes on with a sign-in that is in the log",
        expect=PUBLIC,
    ),
    get("auth-me"),
    get("organizations"),
    Operation(
        "organizations",
        "POST",
        status=201,
        body=lambda _: {"name": "New", "slug": "new-organization"},
        also=(lambda names: {"name": "New", "slug": names["slug"]},),
        entries=(Entry("organization.create", "organization"),),
        by_owner=True,
    ),
    get("organization"),
    Operation(
        "organization",
        "PATCH",
        body=lambda _: {"heartbeat_interval_s": 45},
        entries=(Entry("organization.update", "organization", "organization_id"),),
    ),
    get("users"),
    Operation(
        "users",
        "POST",
        status=201,
        body=lambda _: {"email": "new@example.org", "name": "New", "role": "viewer"},
        also=(lambda names: {"email": names["user_email"], "role": "viewer"},),
        entries=(Entry("member.add", "user"),),
    ),
    get("user"),
    Operation(
        "user",
        "PATCH",
        body=lambda _: {"role": "operator"},
        entries=(Entry("member.update", "user", "user_id"),),
    ),
    Operation("user", "DELETE", status=204, entries=(Entry("member.remove", "user", "user_id"),)),
    get("api-keys"),
    Operation(
        "api-keys",
        "POST",
        status=201,
        body=lambda _: {"name": "new key", "role": "viewer"},
        entries=(Entry("api_key.issue", "apikey"),),
    ),
    get("api-key", path=KEY),
    Operation(
        "api-key",
        "DELETE",
        status=204,
        path=KEY,
        entries=(Entry("api_key.revoke", "apikey", "api_key_id"),),
    ),
]
