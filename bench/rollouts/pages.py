"""What people wait for when the fleet is large: pages and answers, over a real server."""

from typing import Any

from bench.portal import Portal, quantile
from bench.rollouts import callers, fleet
from bench.rollouts.figures import MOST_HALT_S, MOST_PAGE_S, MOST_PLAN_S, told

ROUNDS = 7
RELEASES = 60


def measure(ours: Portal, rollout: Any) -> bool:
    """Time each page a few times; its median counts."""
    from django.core.management import call_command
    from django.urls import reverse

    # Pages name their files by digest.
    call_command("collectstatic", verbosity=0, interactive=False)
    draft = fleet.draft("9.0.0", RELEASES + 10)
    for number in range(RELEASES):
        fleet.signed_release(f"0.{number}.0", number + 2)
    change = "admin:releases_rollout_change"
    pages = {
        "the dashboard": (reverse("admin:index"), MOST_PAGE_S),
        "the list of devices": (reverse("admin:devices_device_changelist"), MOST_PAGE_S),
        "versions against segments": (reverse("console:versions"), MOST_PAGE_S),
        "the rollout while it runs": (reverse(change, args=[rollout.pk]), MOST_PAGE_S),
        "the page of a draft": (reverse(change, args=[draft.pk]), MOST_PLAN_S),
        "the simulation, as an answer": (f"/api/v1/rollouts/{draft.pk}/simulation", MOST_PLAN_S),
        f"which bundles go, of {RELEASES} releases": ("/api/v1/artifacts/retention", MOST_HALT_S),
    }
    proof = callers.proofs()["person, session"]
    kept = []
    for what, (path, most) in pages.items():
        took = callers.ask(ours, [callers.request(proof, path)] * (ROUNDS + 1))[1:]
        kept.append(told(what, quantile(took, 0.5), most))
    return all(kept)
