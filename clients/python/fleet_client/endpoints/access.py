"""The portal itself, and what lets people, programs and devices in."""

from __future__ import annotations

from typing import Any, Optional

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import given, segment
from fleet_client.credentials import Tokens
from fleet_client.models import ApiKey, EnrollmentToken, Me, ServiceStatus
from fleet_client.records import Page
from fleet_client.steps import Alone, Flow, Items


class ServiceEndpoints(Group):
    """`client.service`."""

    @endpoint
    def whoami(self) -> Flow[Me]:
        """Return the caller, their organisation and role."""
        return self.core.read(Me, "GET", "/auth/me")

    @endpoint
    def status(self) -> Flow[ServiceStatus]:
        """Return how the portal is."""
        return self.core.read(ServiceStatus, "GET", "/status")

    @endpoint
    def sign_in(self) -> Flow[Tokens]:
        """Sign in with e-mail and password now rather than at the first call."""
        tokens: Tokens = yield Alone(self.core.sign_in())
        return tokens


class EnrollmentTokenEndpoints(Group):
    """`client.enrollment_tokens`."""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[EnrollmentToken]]:
        """Return one page: `page`, `page_size`."""
        return self.core.page(EnrollmentToken, "/enrollment-tokens", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[EnrollmentToken]:
        """Give every token, without its secret."""
        return self.core.pages(EnrollmentToken, "/enrollment-tokens", params=filters)

    @endpoint
    def create(
        self,
        name: str,
        *,
        expires_in_s: Optional[int] = None,
        max_uses: Optional[int] = None,
        group: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[EnrollmentToken]:
        """Issue a token; its secret is in `token`, this once."""
        body = given(name=name, expires_in_s=expires_in_s, max_uses=max_uses, group=group)
        return self.core.read(
            EnrollmentToken, "POST", "/enrollment-tokens", body=body, key=idempotency_key
        )

    @endpoint
    def revoke(self, token_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """Let nobody in with it any more."""
        path = f"/enrollment-tokens/{segment(token_id)}"
        yield from self.core.ask("DELETE", path, key=idempotency_key)


class ApiKeyEndpoints(Group):
    """`client.api_keys`."""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[ApiKey]]:
        """Return one page: `page`, `page_size`, `role`, `search`."""
        return self.core.page(ApiKey, "/api-keys", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[ApiKey]:
        """Give every key, without its secret."""
        return self.core.pages(ApiKey, "/api-keys", params=filters)

    @endpoint
    def create(
        self,
        name: str,
        role: str,
        *,
        expires_in_s: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[ApiKey]:
        """Issue a key with a role of its own; its secret is in `key`, this once."""
        body = given(name=name, role=role, expires_in_s=expires_in_s)
        return self.core.read(ApiKey, "POST", "/api-keys", body=body, key=idempotency_key)

    @endpoint
    def revoke(self, key_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """End a key at once."""
        yield from self.core.ask("DELETE", f"/api-keys/{segment(key_id)}", key=idempotency_key)
