"""The kept archive as an HTTP answer, the same for the API and the admin."""

from typing import Any

from django.http import FileResponse

from commands.models import SupportBundle


def archive_response(bundle: SupportBundle, content: Any) -> FileResponse:
    """Return the archive so that no browser opens it by itself."""
    answer = FileResponse(
        content,
        as_attachment=True,
        filename=f"{bundle.device.device_id}-{bundle.created_at:%Y%m%d-%H%M%S}.zip",
        content_type="application/zip",
    )
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "private, no-store"
    return answer
