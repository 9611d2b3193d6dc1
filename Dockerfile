# What is built here: `server` (the default), `pipelines` and `ray`. See docs/operations.md and docs/cluster.md.
#
# BASE may be any Debian with python3.11, its venv and certificates of authorities, where no
# registry is in reach: .ci/image makes one.
ARG BASE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d


# The tools stand apart from the environment, which is left without pip and uv.
FROM ${BASE} AS tools
ARG UV=0.13.9
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The secret `index` says PIP_INDEX_URL, UV_DEFAULT_INDEX and the like where the public index does not
# do: a secret leaves no trace in the image, where an argument would leave its password.
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    python3.11 -m venv /opt/tools; \
    /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check "uv==${UV}"; \
    /opt/tools/bin/uv venv --python python3.11 "${VIRTUAL_ENV}"
WORKDIR /build


FROM tools AS build
COPY serving/requirements.lock serving/
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    /opt/tools/bin/uv pip install --require-hashes --no-deps --only-binary :all: \
        -r serving/requirements.lock
# The large lock says which setuptools builds the wheel.
COPY requirements.lock ./
COPY serving/ serving/
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    /opt/tools/bin/uv pip install --no-deps --build-constraint requirements.lock ./serving; \
    /opt/tools/bin/uv pip check


FROM tools AS build-pipelines
COPY requirements.lock torch.lock ./
# torch comes last: a CPU build needs nothing more, a CUDA build brings its own libraries.
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    /opt/tools/bin/uv pip install --require-hashes --no-deps --build-constraint requirements.lock \
        -r requirements.lock; \
    /opt/tools/bin/pip --python "${VIRTUAL_ENV}/bin/python" install --no-cache-dir --no-compile \
        --disable-pip-version-check -r torch.lock
COPY serving/ serving/
WORKDIR /app
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src/ src/
COPY conf/ conf/
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    /opt/tools/bin/uv pip install --no-deps --build-constraint /build/requirements.lock \
        --editable . /build/serving; \
    "${VIRTUAL_ENV}/bin/python" -c 'import torch, fb_marketplace.pipeline_registry'


FROM tools AS build-workers
COPY ray.lock ./
RUN --mount=type=secret,id=index,target=/run/secrets/index \
    set -a; [ ! -e /run/secrets/index ] || . /run/secrets/index; \
    /opt/tools/bin/uv venv --python python3.11 /opt/workers; \
    VIRTUAL_ENV=/opt/workers /opt/tools/bin/uv pip install --require-hashes --no-deps -r ray.lock; \
    echo /opt/workers/lib/python3.11/site-packages > /opt/ray.pth


# LightGBM wants OpenMP of the system.
FROM ${BASE} AS base
# Of Debian only the newest version can be had, so that a pin would break the build within weeks.
# hadolint ignore=DL3008
RUN if ! python3.11 -c 'import ctypes; ctypes.CDLL("libgomp.so.1")'; then \
        apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
        && rm -rf /var/lib/apt/lists/*; \
    fi


FROM base AS pipelines
RUN install -d -o 10001 -g 10001 /raw /lake
COPY --from=build-pipelines /opt/venv /opt/venv
COPY --from=build-pipelines /app /app
# Names for a user that the image does not know: torch asks for one.
ENV DO_NOT_TRACK=1 \
    FB_LAKE=/lake \
    FB_RAW=/raw \
    HOME=/tmp \
    PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=fb
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["kedro"]
CMD ["run"]


# A member of a Ray cluster: `ray` starts in its lean environment, and the driver, `kedro`, imports Ray from there.
FROM pipelines AS ray
COPY --from=build-workers /opt/workers /opt/workers
COPY --from=build-workers /opt/ray.pth /opt/venv/lib/python3.11/site-packages/
# Machines notice a new head after 5 seconds, not after a minute.
ENV PATH=/opt/workers/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_raylet_liveness_self_check_interval_ms=5000
ENTRYPOINT []
CMD ["ray", "start", "--help"]


FROM base AS server
COPY --from=build /opt/venv /opt/venv
# Huge pages: the text encoder has fewer TLB misses.
# 0.0.0.0 is the container's own network: who reaches it is for whoever publishes the port to say.
ENV FB_HOST=0.0.0.0 \
    FB_LAKE=/lake \
    FB_PORT=8000 \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    HOME=/tmp \
    PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
# By number, so that Kubernetes too can tell that it is not root.
USER 10001:10001
EXPOSE 8000
# The first answer takes as long as a lake is read; urlopen raises on every status but success, and
# without the empty handler it would ask a proxy, where the environment names one.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-IS", "-c", "import os, urllib.request as ask; ask.build_opener(ask.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['FB_PORT'] + '/healthcheck', timeout=4)"]
ENTRYPOINT ["fb-serve", "run"]
