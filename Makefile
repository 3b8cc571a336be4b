# What there is to do is in deploy/local/, a script each; this is where one looks for it.
.DEFAULT_GOAL := help
.PHONY: help demo test bare reference lint coverage fuzz chaos bench-reap bench-traffic bench-api run down

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: ## the tour: logs a wallet in, lets 200,000 sessions fall due, reaps them
	@deploy/local/demo

test: ## everything: lint, and all tests on a PostgreSQL and Redis of their own
	@deploy/local/test

bare: ## `make demo` as an ordinary user on a bare Debian, which is made in memory; requires root
	@deploy/local/bare

reference: ## writes the tables of docs/configuration.md anew, from what the programs say
	@WRITE_DOCS=1 cargo test --quiet --workspace --features session-reaper/otlp --test reference

lint: ## fmt, clippy, docs, shellcheck and cargo-deny alone
	@deploy/local/lint

coverage: ## the share of lines that the tests run, of auth-api and session-reaper; fails under 90 %
	@deploy/local/coverage

fuzz: ## each target of fuzz/ for TIME seconds (60); takes a nightly compiler
	@TIME=$(or $(TIME),60) deploy/local/fuzz

chaos: ## check session-reaper beside concurrent writers and faults for TIME minutes (5); SEED=7 plays that round and those after it
	@deploy/local/chaos $(if $(SEED),--seed $(SEED)) $(if $(TIME),--minutes $(TIME))

bench-reap: ## session-reaper beside raw SQL, on a durable PostgreSQL of its own; ROWS=200000 ROUNDS=1 takes a minute
	@deploy/local/bench-reap $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write $(WRITE))

bench-traffic: ## what traffic notices of session-reaper; ROUNDS=1 takes five minutes
	@deploy/local/bench-traffic $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write $(WRITE))

bench-api: ## auth-api's look-up in the denylist beside redis-benchmark, introspections, whether a refusal's time tells why, and every endpoint; WHAT=denylist, introspection, refusals or endpoints
	@deploy/local/bench-api $(WHAT) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(AGAINST),--against $(AGAINST)) $(if $(WRITE),--write $(WRITE))

run: ## auth-api and session-reaper on this machine until Ctrl-C
	@deploy/local/run

down: ## stop what `make run` or deploy/local/stack left running
	@deploy/local/stack down
