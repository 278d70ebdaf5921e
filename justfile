# What there is to do in this repository; `just` lists it.

default:
    @just --list

# All tests, as README.md and CI run them.
test:
    cargo test --workspace --locked

# Formatting, clippy and the rules of deny.toml.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo deny --locked check bans licenses sources

# One seed of the simulator, as a readable trace.
sim SEED:
    cargo run --release --quiet -p troop-sim -- {{SEED}}

# Many seeds; prints those that fail and how fast it went.
sim-many N:
    cargo run --release --quiet -p troop-sim -- --many {{N}}

# Plants the bugs of sim/mutants, one at a time; each must be found within SEEDS seeds.
mutants SEEDS="500":
    sim/mutants/run {{SEEDS}}

# Decode and prefill rates beside the machine's limits.
kernels-bench *ARGS:
    cargo run --release --quiet -p troop-kernels --example bench -- {{ARGS}}

# What drafts bring on a model's file: tokens a second with and without, for texts that repeat and texts that do not.
bench-speculation +MODELS:
    cargo run --release --quiet -p troop-actors --example bench_speculation -- {{MODELS}}

# Each operation alone, beside what the machine can do: [FILTER] [threads] [isa].
bench-kernels *ARGS:
    cargo run --release --quiet -p troop-kernels --example bench_kernels -- {{ARGS}}

# troop and llama.cpp, built for this machine, alternately on the same files: medians and ratios.
bench-engine *ARGS:
    runtime/tests/rival/run {{ARGS}}

# Calls, letters and tokens between two nodes, beside bare QUIC.
bench-cluster:
    cargo run --release --quiet -p troop --example bench_cluster

# An independent reader of the synthetic models: every architecture in every format.
reader:
    kernels/tests/reader/run

# The long versions of what CI runs briefly.
nightly:
    TROOP_LONG=1 cargo test --workspace --locked
    just sim-many 5000
    just mutants
    cargo deny --locked check advisories

# What CI runs.
ci:
    .ci/run
