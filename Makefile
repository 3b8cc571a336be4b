# The targets below call the scripts in deploy/local/.
.DEFAULT_GOAL := help
.PHONY: help demo test bare reference lint coverage fuzz chaos bench-reap bench-traffic bench-api run down

help: ## list all commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: ## guided tour: log a wallet in, let 200,000 sessions expire, and delete them
	@deploy/local/demo

test: ## lint, and run all tests on a private PostgreSQL and Redis
	@deploy/local/test

bare: ## run `make demo` as an ordinary user on a minimal Debian in memory; requires root
	@deploy/local/bare

reference: ## regenerate the tables in docs/configuration.md from the help of the programs
	@WRITE_DOCS=1 cargo test --quiet -p auth-api -p session-reaper --features session-reaper/otlp --test it reference::

lint: ## run only fmt, typos, clippy, docs, shellcheck and cargo-deny
	@deploy/local/lint

coverage: ## measure the test coverage of auth-api and session-reaper; fails below 90 %
	@deploy/local/coverage

fuzz: ## run each target in fuzz/ for TIME seconds (default 60); requires a nightly compiler
	@TIME=$(or $(TIME),60) deploy/local/fuzz

chaos: ## check session-reaper with concurrent writers and faults for TIME minutes (default 5); SEED=7 starts with that round
	@deploy/local/chaos $(if $(SEED),--seed $(SEED)) $(if $(TIME),--minutes $(TIME))

bench-reap: ## compare session-reaper with raw SQL on a private durable PostgreSQL; ROWS=200000 ROUNDS=1 takes a minute
	@deploy/local/bench-reap $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write $(WRITE))

bench-traffic: ## measure the effect of session-reaper on other queries; ROUNDS=1 takes five minutes
	@deploy/local/bench-traffic $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write $(WRITE))

bench-api: ## measure denylist lookups (against redis-benchmark), introspection, whether rejection times reveal reasons, and every endpoint; select one with WHAT=denylist, introspection, refusals or endpoints
	@deploy/local/bench-api $(WHAT) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(AGAINST),--against $(AGAINST)) $(if $(WRITE),--write $(WRITE))

run: ## run auth-api and session-reaper on this machine until Ctrl-C
	@deploy/local/run

down: ## stop what `make run` or deploy/local/stack has left running
	@deploy/local/stack down
