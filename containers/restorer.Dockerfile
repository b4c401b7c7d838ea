# The restorer on NVIDIA GPUs: about 3 GB to download, 7 GB on the disk; the host needs NVIDIA's container toolkit.
#     docker build -f containers/restorer.Dockerfile -t scancontrol-restorer .
#     docker run --gpus all --network host scancontrol-restorer
# With another command it is everything else on the GPU too, the daemon with its own restorer for one:
#     docker run --gpus all --network host -v "$PWD/config:/config:ro" -v "$PWD/runs:/runs" --entrypoint scancontrol \
#         scancontrol-restorer daemon --config /config/daemon.yaml
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY scancontrol scancontrol
COPY restore restore
COPY simulators simulators
COPY config config
RUN python -m venv /opt/scancontrol \
    && /opt/scancontrol/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/scancontrol/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 operator && mkdir /runs && chown operator /runs
COPY --from=build /opt/scancontrol /opt/scancontrol
ENV PATH=/opt/scancontrol/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /home/operator
VOLUME /runs
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "restore.serve"]
CMD ["--device", "cuda", "--address", "tcp://127.0.0.1:5560"]
