# The gateway in a small image with glibc, which SQLite through cgo needs.
#
#   docker build -t mimigate .
#   docker build -t mimigate:nowhatsapp --build-arg WITHOUT=nowhatsapp .
#
# The first links libsignal (GPL-3.0) for WhatsApp, so its binary as a whole is under the GPL-3.0; the second leaves it out and
# is under the Apache License 2.0 alone.
#
#   docker run -v mimigate:/var/lib/mimigate -v ./config.yaml:/etc/mimigate/config.yaml:ro mimigate
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG WITHOUT=""
ARG VERSION=""
RUN CGO_ENABLED=1 go build -trimpath -tags "goolm ${WITHOUT}" -ldflags "-s -w -X main.release=${VERSION}" -o /mimigate ./cmd/mimigate

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/mimigate --create-home --shell /usr/sbin/nologin mimigate
COPY --from=build /mimigate /usr/local/bin/mimigate
COPY LICENSE /usr/share/doc/mimigate/LICENSE
USER 10001
WORKDIR /var/lib/mimigate
VOLUME /var/lib/mimigate
EXPOSE 8443
ENTRYPOINT ["/usr/local/bin/mimigate"]
CMD ["serve"]
