# syntax=docker/dockerfile:1
# The worker, for CPUs (default) and NVIDIA GPUs (--target gpu). No torch in either.
# Build from the repository's root: docker build -f docker/worker.Dockerfile [--target gpu] .

FROM python:3.12-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY dicom_gateway dicom_gateway
COPY model model
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip wheel --no-deps --wheel-dir /wheels .

# GPU: CUDA's base image is enough, TensorRT's wheels bring their own libraries. Needs driver 580 or newer.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS gpu-python
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM gpu-python AS gpu-build
RUN python3 -m venv /opt/xrayq
COPY docker/requirements-tensorrt.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/xrayq/bin/python -m pip install --requirement /src/requirements-tensorrt.txt
COPY --from=wheel /wheels /wheels
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/xrayq/bin/python -m pip install --only-binary :all: "$(echo /wheels/*.whl)[gpu]"

FROM gpu-python AS gpu
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /var/lib/xrayq \
        --shell /usr/sbin/nologin xrayq \
    && install --directory --owner=xrayq --group=xrayq --mode=0700 \
        /var/lib/xrayq /var/lib/xrayq/run /var/lib/xrayq/spool /var/lib/xrayq/plans
COPY --from=gpu-build /opt/xrayq /opt/xrayq
ENV PATH=/opt/xrayq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XRAYQ_HOME=/var/lib/xrayq
WORKDIR /var/lib/xrayq
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=15s --start-period=300s --retries=3 CMD ["xrayq", "health", "worker"]
ENTRYPOINT ["xrayq"]
CMD ["worker"]

FROM python:3.12-slim-bookworm AS cpu-build
RUN python -m venv /opt/xrayq
COPY --from=wheel /wheels /wheels
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/xrayq/bin/python -m pip install --only-binary :all: "$(echo /wheels/*.whl)"

FROM python:3.12-slim-bookworm AS cpu
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /var/lib/xrayq \
        --shell /usr/sbin/nologin xrayq \
    && install --directory --owner=xrayq --group=xrayq --mode=0700 \
        /var/lib/xrayq /var/lib/xrayq/run /var/lib/xrayq/spool
COPY --from=cpu-build /opt/xrayq /opt/xrayq
ENV PATH=/opt/xrayq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XRAYQ_HOME=/var/lib/xrayq
WORKDIR /var/lib/xrayq
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["xrayq", "health", "worker"]
ENTRYPOINT ["xrayq"]
CMD ["worker"]
