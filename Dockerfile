# One image for every process of the service; the command says which. docs/how-to/build-the-image.md describes it.

ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

# The packages, as locked. Nothing is built: only wheels are taken.
FROM ${PYTHON_IMAGE} AS packages
# The tool that takes debug symbols away. It does not stay, so whichever version Debian has will do.
# hadolint ignore=DL3008
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/runtime.txt /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check --root-user-action ignore \
        --require-hashes --no-deps --only-binary :all: --requirement /build/runtime.txt
# What no process reads: of AWS' services all but S3 and, for roles, STS; tests; what compilers and type checkers read; debug symbols.
# The byte code names no time, and Python never looks whether its source has changed: nobody can change it in the image.
RUN find /opt/venv/lib/python3.*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts -exec rm -r {} + \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && find /opt/venv -type f \( -name '*.c' -o -name '*.h' -o -name '*.py[ix]' -o -name '*.px[di]' \) -delete \
    && find /opt/venv -type f -name '*.so' -exec strip --strip-unneeded {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE} AS code
WORKDIR /app
COPY pyproject.toml ./
COPY migrations migrations
COPY app app
RUN python -m compileall -q --invalidation-mode unchecked-hash app migrations

FROM ${PYTHON_IMAGE} AS service
# A name for the number, which is what Kubernetes checks; its home is the one place that can be written.
RUN echo 'platform:x:10001:' >>/etc/group \
    && echo 'platform:x:10001:10001::/tmp:/usr/sbin/nologin' >>/etc/passwd
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/tmp \
    HOST=0.0.0.0 \
    PORT=8000 \
    METRICS_PORT=9090
WORKDIR /app
USER 10001:10001
EXPOSE 8000 9090
CMD ["gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()"]

# For `skaffold dev`: gunicorn and celery run from a copy of the code in the volume /code, and start anew when a file in it changes.
FROM service AS dev
USER 0:0
COPY requirements/local.txt /build/
# The script written here expands its variables when it runs.
# hadolint ignore=SC2016
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    sed -n '/^watchfiles==/,/[^\\]$/p' /build/local.txt >/build/watchfiles.txt \
    && /usr/local/bin/python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --require-hashes --no-deps --only-binary :all: --requirement /build/watchfiles.txt \
    && mkdir /opt/dev \
    && printf '%s\n' '#!/bin/sh -e' \
        '[ -e /code/pyproject.toml ] || cp -R /app/app /app/migrations /app/pyproject.toml /code' \
        'cd /code' \
        'RUN="import shlex, sys, watchfiles; watchfiles.run_process(\"app\", target=shlex.join(sys.argv[1:]), target_type=\"command\", sigint_timeout=15)"' \
        'exec python -c "$RUN" "/opt/venv/bin/${0##*/}" "$@"' >/opt/dev/gunicorn \
    && chmod 755 /opt/dev/gunicorn \
    && ln -s gunicorn /opt/dev/celery
ENV PATH=/opt/dev:$PATH
USER 10001:10001
COPY pyproject.toml ./
COPY migrations migrations
COPY app app

FROM service AS runtime
COPY --from=code /app /app
ARG VERSION
ARG REVISION
ENV VERSION=${VERSION}
LABEL org.opencontainers.image.title="FastAPI Platform" \
      org.opencontainers.image.description="API, workers, scheduler and migrations of the platform" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
