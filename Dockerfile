# ARC Web: one image for web, worker, beat, model and migrate; docker-compose.yml says which it is.
FROM python:3.11-slim-trixie AS packages
COPY requirements.lock requirements-s3.lock /tmp/
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --require-hashes --only-binary=:all: \
        -r /tmp/requirements.lock -r /tmp/requirements-s3.lock

# The Debian of redis:8, whose server runs here too.
FROM python:3.11-slim-trixie
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    ARC_ENV_FILE= ARC_DATA_DIR=/var/lib/arcweb ARC_STATIC_DIR=/app/static
# The number is fixed so that volumes keep their owner from image to image.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin arc \
    && install --directory --owner=arc --group=arc --mode=700 /var/lib/arcweb /var/lib/arcweb/run
COPY --from=packages /venv /venv
# A copy of Redis is proven by a server that loads it: one of the version that wrote it, or a newer one.
COPY --from=redis:8 /usr/local/bin/redis-server /usr/local/bin/redis-server
WORKDIR /app
COPY manage.py LICENSE ./
COPY arcweb arcweb
COPY agents agents
COPY memories memories
COPY cache_admin cache_admin
COPY templates templates
# The handbook: the demo's agent reads it.
COPY docs docs
# Without a server: the settings of the embedded stack need none to collect files.
RUN python -m compileall -q . && ARC_DATA_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "arcweb.wsgi", "--bind=0.0.0.0:8000", "--worker-class=gthread", "--workers=1", "--worker-tmp-dir=/dev/shm", "--no-control-socket", "--limit-request-line=8190", "--access-logfile=-"]
