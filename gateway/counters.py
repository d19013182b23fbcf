"""What the gateway counts, shown at /metrics of the same process. Labels have few values."""

from prometheus_client import Counter, Gauge, Histogram

HEARTBEATS = Counter("fleet_gateway_heartbeats_total", "Heartbeats by answer", ["status"])
CLAIMS = Counter("fleet_gateway_claims_total", "Claims by answer", ["status"])
DELIVERED = Counter("fleet_gateway_commands_delivered_total", "Commands handed out")
BATCH = Histogram(
    "fleet_gateway_statement_heartbeats",
    "Heartbeats stored by one statement",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
STATEMENT = Histogram(
    "fleet_gateway_statement_seconds",
    "Seconds from sending a gathered statement to its commit",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
WAITING = Gauge("fleet_gateway_heartbeats_waiting", "Heartbeats that wait for a statement")
CLAIMERS = Gauge("fleet_gateway_claims_waiting", "Claims that wait for a command")
STREAMS = Gauge("fleet_gateway_streams", "Open streams of devices")
WATCHERS = Gauge("fleet_gateway_people_streams", "Open streams of people and API keys")
