"""The web process: console and API on gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
application = get_wsgi_application()
