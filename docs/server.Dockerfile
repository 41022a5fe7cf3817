# docker build -f docs/server.Dockerfile -t shallow2deep .
FROM python:3.12-slim
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir '.[serve,export]'
RUN useradd --create-home s2d && mkdir /data && chown s2d /data
USER s2d
WORKDIR /home/s2d
VOLUME /data
EXPOSE 8765
# listens on all addresses of the container, so a token is needed: S2D_SERVE_TOKEN, or the one that it prints
CMD ["s2d", "serve", "--root", "/data", "--host", "0.0.0.0"]
