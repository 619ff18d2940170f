# cgo: the SQL parser is PostgreSQL's own, as a C library.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -o /pgbulkproxy ./cmd/pgbulkproxy

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home pgbulkproxy
COPY --from=build /pgbulkproxy /usr/local/bin/pgbulkproxy
USER pgbulkproxy
EXPOSE 6432 9432
ENTRYPOINT ["pgbulkproxy"]
CMD ["serve"]
