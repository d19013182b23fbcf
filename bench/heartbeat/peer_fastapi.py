"""The peer as the first seed describes it: FastAPI, SQLAlchemy async, asyncpg.

One transaction per request: the device is looked up, its state written, the heartbeat inserted,
all committed before the answer. The API key is compared in memory, which costs it nothing.
Its tables live in a schema of their own. Run: `uvicorn bench.heartbeat.peer_fastapi:app`.
"""

import hmac
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, ForeignKey, String, select
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.heartbeat.fleet import API_KEY

# postgresql+asyncpg://…; the runner turns the embedded server's address into it.
engine = create_async_engine(os.environ["PEER_DATABASE_URL"], pool_size=20, max_overflow=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """Tables of the peer."""


class Device(Base):
    """A device and its newest state."""

    __tablename__ = "devices"

    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), default="unknown")
    last_seen: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[str] = mapped_column(String(64), default="")
    target_version: Mapped[str] = mapped_column(String(64), default="1.1.0")


class DeviceHeartbeat(Base):
    """One heartbeat."""

    __tablename__ = "device_heartbeats"

    id: Mapped[uuid.UUID] = mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    device_id: Mapped[str] = mapped_column(
        ForeignKey("devices.device_id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[str] = mapped_column(String(16))
    cpu_percent: Mapped[float | None]
    memory_percent: Mapped[float | None]
    disk_percent: Mapped[float | None]
    temperature: Mapped[float | None]
    uptime_seconds: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)


class Metrics(BaseModel):
    """The metrics of a heartbeat."""

    cpu_percent: float | None = None
    mem_percent: float | None = None
    disk_percent: float | None = None
    disk_free_gb: float | None = None
    temperature_c: float | None = None


class HeartbeatIn(BaseModel):
    """A heartbeat as it is sent."""

    ts: datetime | None = None
    boot_id: str = Field(default="", max_length=64)
    sequence: int | None = None
    version: str = Field(default="", max_length=64)
    uptime_seconds: int | None = None
    metrics: Metrics = Metrics()
    status: dict[str, Any] = {}
    errors: list[str] = []


class HeartbeatOut(BaseModel):
    """The answer."""

    ack: bool
    commands_pending: int
    target_version: str
    server_time: datetime
    next_heartbeat_s: float


async def get_db() -> AsyncIterator[AsyncSession]:
    """Give each request a session; the route commits."""
    async with sessions() as session:
        yield session


async def verify_api_key(x_api_key: Annotated[str, Header()]) -> None:
    """Let in who knows the key."""
    if not hmac.compare_digest(x_api_key, API_KEY):
        raise HTTPException(401, "Invalid API key")


app = FastAPI()


@app.post(
    "/api/v1/devices/{device_id}/heartbeat",
    response_model=HeartbeatOut,
    dependencies=[Depends(verify_api_key)],
)
async def heartbeat(
    device_id: str, sent: HeartbeatIn, db: Annotated[AsyncSession, Depends(get_db)]
) -> HeartbeatOut:
    """Store a heartbeat and answer after the commit."""
    found = await db.execute(select(Device).where(Device.device_id == device_id))
    device = found.scalar_one_or_none()
    if device is None:
        raise HTTPException(404, "Device not found")
    now = datetime.now(UTC)
    device.status = "degraded" if sent.errors else "healthy"
    device.last_seen = now
    device.version = sent.version
    db.add(
        DeviceHeartbeat(
            device_id=device_id,
            at=sent.ts or now,
            status=device.status,
            cpu_percent=sent.metrics.cpu_percent,
            memory_percent=sent.metrics.mem_percent,
            disk_percent=sent.metrics.disk_percent,
            temperature=sent.metrics.temperature_c,
            uptime_seconds=sent.uptime_seconds,
            details={"boot_id": sent.boot_id, "sequence": sent.sequence, **sent.status},
        )
    )
    await db.commit()
    return HeartbeatOut(
        ack=True,
        commands_pending=0,
        target_version=device.target_version,
        server_time=now,
        next_heartbeat_s=60.0,
    )


async def make_tables(device_ids: list[str]) -> None:
    """Make the peer's tables and its devices."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as session:
        session.add_all([Device(device_id=device_id) for device_id in device_ids])
        await session.commit()
