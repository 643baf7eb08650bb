# hubscope. `make help` lists the targets.
#
# Everything is installed by need and remembered in .stamp/, so that a second
# run needs no network.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 0
# What is dated has the date of the commit: builds of one commit are equal.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
NPM_FOLDERS := $(patsubst %/package-lock.json,%,$(shell git ls-files '*package-lock.json' 2>/dev/null || find . -name package-lock.json -not -path '*/node_modules/*'))
NPM_STAMPS := $(foreach f,$(NPM_FOLDERS),.stamp/$(subst /,_,$(f)))
ENGINE := .stamp/deploy_engine
# The console is built when npm is there; without it, or with CONSOLE= on the
# command line, the binary has its plain page.
CONSOLE := $(if $(shell command -v npm),query/console/dist/index.html)
# The data source's frontend, which the browser's tests use as it is built.
FRONTEND := plugin/dist/module.js
# go test's own limit for one package; the whole suite is to stay under 30 minutes.
TEST_TIMEOUT ?= 40m
FUZZ_TIME ?= 60s
# What make test fuzzes, and with how many inputs. A number, not a time: when the
# time runs out while an input is being looked at, go test fails without one.
FUZZ_SOME ?= ./query/plan:FuzzCompile:20000x ./query/kql:FuzzParsePrint:40000x ./query/chsql:FuzzQuote:2000x

# What the Grafana data source is built for.
PLUGIN_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

.PHONY: help up build plugin test race lint fmt bench fuzz fuzz-some screenshot clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build $(ENGINE) ## run the whole stack with a live demo fleet (Ctrl-C stops it)
	@bin/hubscope up --demo $(UP_FLAGS)

build: $(CONSOLE) ## build bin/hubscope
	@mkdir -p bin
	go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/hubscope ./deploy/hubscope

plugin: $(FRONTEND) ## build the Grafana data source and its zip (plugin/dist)
	@rm -f plugin/dist/*.zip
	@version=$$(sed -n 's/^  "version": "\(.*\)",$$/\1/p' plugin/package.json); \
	info="{\"time\":$${SOURCE_DATE_EPOCH}000,\"pluginID\":\"hubscope-connections-datasource\",\"version\":\"$$version\"}"; \
	for platform in $(PLUGIN_PLATFORMS); do \
	  os=$${platform%/*}; arch=$${platform#*/}; ext=; if [ $$os = windows ]; then ext=.exe; fi; \
	  echo "gpx_hubscope_$${os}_$$arch$$ext"; \
	  GOOS=$$os GOARCH=$$arch go build -trimpath -buildvcs=false -tags arrow_json_stdlib \
	    -ldflags "-s -w -X 'github.com/grafana/grafana-plugin-sdk-go/build/buildinfo.buildInfoJSON=$$info'" \
	    -o "plugin/dist/gpx_hubscope_$${os}_$$arch$$ext" ./plugin/pkg; \
	done; \
	go run ./plugin/pack

test: build $(NPM_STAMPS) $(FRONTEND) ## run every test, and print the slowest
	@code=0; go tool gotestsum --format pkgname --format-hide-empty-pkg --jsonfile .stamp/test.json -- -p 2 -timeout $(TEST_TIMEOUT) ./... || code=$$?; \
	echo; echo "slowest tests:"; go tool gotestsum tool slowest --num 15 --threshold 1s --jsonfile .stamp/test.json; \
	$(MAKE) --no-print-directory fuzz-some || code=$$?; exit $$code

race: $(NPM_STAMPS) $(FRONTEND) ## run the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -p 1 -timeout $(TEST_TIMEOUT) ./...

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt wants to change:"; echo "$$files"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	go mod tidy -diff

fmt: ## gofmt all files
	gofmt -w $$(git ls-files '*.go')

bench: build $(NPM_STAMPS) ## measure against the peers; prints ratios
	go run ./deploy/bench/ingest
	go run ./deploy/bench/hub
	go run ./deploy/bench/query
	go run ./deploy/bench/api
	go run ./deploy/bench/plugin
	go test -run '^$$' -bench . ./ingest ./query/...

fuzz-some: $(ENGINE) ## fuzz the query compiler and its quoting for a minute (part of test)
	@for f in $(FUZZ_SOME); do \
	  IFS=: read -r pkg target count <<<"$$f"; echo "== $$pkg $$target"; \
	  go test -run '^$$' -fuzz "^$$target$$" -fuzztime "$$count" -fuzzminimizetime 10x -parallel 2 "$$pkg"; \
	done

fuzz: $(ENGINE) ## run every fuzz target for FUZZ_TIME (60s)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 100x "$$pkg"; \
	  done; done

screenshot: $(CONSOLE) ## make the README's pictures of the console of the stack that runs (QUERY_URL)
	node query/console/e2e/screenshot.mjs $(or $(QUERY_URL),http://127.0.0.1:7070) query/console

clean: ## remove what make has built and installed (not hubscope-data)
	rm -rf bin .stamp query/console/dist/* plugin/dist $(addsuffix /node_modules,$(NPM_FOLDERS))

query/console/dist/index.html: .stamp/query_console $(wildcard query/console/src/*) query/console/build.mjs query/console/tsconfig.json
	npm --prefix query/console run --silent check
	npm --prefix query/console run --silent build

$(FRONTEND): .stamp/plugin $(shell find plugin/src -type f) $(wildcard dashboards/*.json) plugin/webpack.config.mjs plugin/package.json plugin/README.md plugin/CHANGELOG.md plugin/LICENSE
	npm --prefix plugin run --silent build

# One rule for every npm folder: install exactly what its lock file says.
define npm_rule
.stamp/$(subst /,_,$(1)): $(1)/package-lock.json $(1)/package.json
	@mkdir -p .stamp
	@command -v npm >/dev/null || { echo "npm is needed to install $(1); install Node.js 20 or newer"; exit 1; }
	npm --prefix $(1) ci --no-audit --no-fund --loglevel=error
	@touch $$@
endef
$(foreach f,$(NPM_FOLDERS),$(eval $(call npm_rule,$(f))))
