# The acquisition daemon with its page and a restorer on the processor: 0.4 GB to download, about 1.5 GB on the disk.
#     docker build -f containers/daemon.Dockerfile -t scancontrol-daemon .
#     docker run --network host -v "$PWD/config:/config:ro" -v "$PWD/runs:/runs" -v "$PWD/keys:/keys:ro" scancontrol-daemon
# Host networking, as the daemon listens on loopback and dials the microscope; recordings stay outside the container.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements-cpu.lock ./
COPY scancontrol scancontrol
COPY restore restore
COPY simulators simulators
COPY config config
RUN python -m venv /opt/scancontrol \
    && /opt/scancontrol/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
    && /opt/scancontrol/bin/pip install --no-cache-dir --require-hashes -r requirements-cpu.lock \
    && /opt/scancontrol/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 operator && mkdir /runs && chown operator /runs
COPY --from=build /opt/scancontrol /opt/scancontrol
ENV PATH=/opt/scancontrol/bin:$PATH
USER 1000
WORKDIR /home/operator
VOLUME /runs
# docker stop sends SIGTERM: the beam is blanked, the recording closed, then the processes end.
STOPSIGNAL SIGTERM
ENTRYPOINT ["scancontrol"]
CMD ["daemon", "--config", "/config/daemon.yaml"]
