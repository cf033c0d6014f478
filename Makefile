# make test       everything: format, vet, staticcheck, unit, race, fuzzing, integration with real servers, nested modules
# make run        builds mimigate and starts the demo, which needs nothing but the binary
# make build      the binary ./mimigate (WITHOUT=nowhatsapp leaves libsignal, GPL-3.0, out)
# make bench-mls  figures of the MLS engine beside other implementations and the floor
# make interop    the MLS engine against mls-go and ts-mls in full: every scenario and 200 epochs in every suite (some 10 minutes)
# make setup      only what `make test` installs first: apt (as root), .cache/python, .cache/tsmls, .cache/bin
#
# How tests use real servers: they call functions of core/adapter/adaptertest/servers (Synapse, Prosody, and the foreign
# clients Nio and Slix). Where the tool is not installed, such a test skips and says what is missing; where
# MIMIGATE_TEST_REQUIRE names the tool (a list of: synapse prosody postgresql clients ts-mls; or: all) it fails instead. `make test`
# sets it to what the set-up has installed, .ci/run to all. With `go test -short` (the race pass) no real server is
# started. No build tag is involved; `goolm` is on because mautrix needs it.
#
# FUZZTIME=3s is the time for each fuzz target; they are found, not listed.

TAGS := goolm $(WITHOUT)
export FUZZTIME ?= 3s

.PHONY: all build run setup test interop fmt vet bench-mls clean

all: build

build:
	go build -tags '$(TAGS)' -o mimigate ./cmd/mimigate

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

bench-mls: setup
	cd core/mls/interop && go run -tags '$(TAGS)' ./bench

clean:
	rm -rf mimigate .cache
