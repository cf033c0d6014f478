# make test       everything: format, vet, staticcheck, unit, race, fuzzing, integration with real servers, nested modules
# make run        builds mimigate and starts the demo, which needs nothing but the binary
# make build      the binary ./mimigate (WITHOUT=nowhatsapp leaves libsignal, GPL-3.0, out)
# make soak       people talk through a gateway that is killed, frozen out, refused and flooded, for SOAK=10m on each kind of store
# make bench-gateway  figures of the gateway: CPU for a message, memory, rooms
# make deb        a Debian package in dist/ (WITHOUT=nowhatsapp as for build)
# make cross      binaries for linux arm64 and armv7 in dist/, with Debian's cross compilers (gcc-aarch64-linux-gnu libc6-dev-arm64-cross
#                 gcc-arm-linux-gnueabihf libc6-dev-armhf-cross); each is started once under qemu-user, where that is installed
# make sbom       what the binary is made of, as CycloneDX, in dist/
# make vuln       known vulnerabilities of what we use and call (govulncheck; it asks vuln.go.dev)
# make bench-mls  figures of the MLS engine beside other implementations and the floor
# make interop    the MLS engine against mls-go and ts-mls in full: every scenario and 200 epochs in every suite (some 10 minutes)
# make setup      only what `make test` installs first: apt (as root), .cache/python, .cache/tsmls, .cache/bin
#
# How tests use real servers: they call functions of core/adapter/adaptertest/servers (Synapse, Prosody, PostgreSQL, and the foreign
# clients Nio and Slix). Where the tool is not installed, such a test skips and says what is missing; where
# MIMIGATE_TEST_REQUIRE names the tool (a list of: synapse prosody postgresql clients ts-mls; or: all) it fails instead. `make test`
# sets it to what the set-up has installed, .ci/run to all. With `go test -short` (the race pass) no real server is
# started. No build tag is involved; `goolm` is on because mautrix needs it.
#
# FUZZTIME=3s is the time for each fuzz target; they are found, not listed.

TAGS := goolm $(WITHOUT)
export FUZZTIME ?= 3s
SOAK ?= 10m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STAMP := -X main.release=$(VERSION)
GOBUILD := CGO_ENABLED=1 go build -trimpath -tags '$(TAGS)' -ldflags '-s -w $(STAMP)'

.PHONY: all build run setup test interop fmt vet bench-mls clean

all: build

build:
	CGO_ENABLED=1 go build -tags '$(TAGS)' -ldflags '$(STAMP)' -o mimigate ./cmd/mimigate

run: build
	./mimigate demo

setup:
	.ci/setup

test: setup
	go -C .ci/tools build -o ../../.cache/bin/testrun ./testrun
	.cache/bin/testrun

fmt:
	gofmt -w $$(git ls-files '*.go')

vet:
	go vet -tags '$(TAGS)' ./...

interop: setup
	cd core/mls/interop && go test -count=1 -timeout 40m -run TestOurs -full .

soak: setup
	MIMIGATE_TEST_REQUIRE=all go test -count=1 -tags '$(TAGS)' -timeout 6h -run TestFaults -v ./core/gateway -soak $(SOAK)

bench-gateway:
	go test -count=1 -tags '$(TAGS)' -run '^$$' -bench BenchmarkGateway -benchtime 1x -timeout 30m ./core/gateway

dist/mimigate: .FORCE
	mkdir -p dist
	$(GOBUILD) -o $@ ./cmd/mimigate

deb: dist/mimigate
	packaging/debian/build dist/mimigate '$(VERSION)' "$$(dpkg --print-architecture)" dist/mimigate.deb

cross:
	mkdir -p dist
	GOARCH=arm64 CC=aarch64-linux-gnu-gcc $(GOBUILD) -o dist/mimigate-linux-arm64 ./cmd/mimigate
	GOARCH=arm GOARM=7 CC=arm-linux-gnueabihf-gcc $(GOBUILD) -o dist/mimigate-linux-armv7 ./cmd/mimigate
	! command -v qemu-aarch64 >/dev/null || qemu-aarch64 -L /usr/aarch64-linux-gnu dist/mimigate-linux-arm64 demo --script
	! command -v qemu-arm >/dev/null || qemu-arm -L /usr/arm-linux-gnueabihf dist/mimigate-linux-armv7 version

sbom: dist/mimigate
	go -C .ci/tools run ./sbom "$(CURDIR)/dist/mimigate" > dist/mimigate.cdx.json

vuln:
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 -tags '$(TAGS)' ./...

bench-mls: setup
	cd core/mls/interop && go run -tags '$(TAGS)' ./bench

clean:
	rm -rf mimigate dist .cache

.FORCE:
