# shellcheck shell=bash
# Starts programs in the background and stops them. Only programs that were started here are
# stopped, and always with a time limit. `stack` sources this file and provides STACK_DIR and `note`
# (to print messages).
: "${STACK_DIR:?}"

# Sets a variable to a free port, below the range that the kernel uses for outgoing connections. If
# another process takes the port before the caller does, the caller tries another port.
free_port() { # VARIABLE
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if [[ " ${given_out:-} " != *" $port "* ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            given_out="${given_out:-} $port"
            printf -v "$1" %s "$port"
            return 0
        fi
    done
    note "no free port found on 127.0.0.1"
    return 1
}

# Prints the ID of the current boot, and the time from that boot to the start of a process. No two
# processes have both the same process ID and the same start time.
birth_of() { # PID; fails if the process has ended, even if it has not been reaped
    local stat boot
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != [ZX] ]] || return 1
    boot=$(</proc/sys/kernel/random/boot_id)
    echo "$boot/${stat[19]}"
}

# Prints the process ID of a program that this script started and that is still running.
pid_of() { # NAME
    local pid birth
    [[ -r $STACK_DIR/$1.pid ]] || return 1
    read -r pid birth <"$STACK_DIR/$1.pid"
    [[ $(birth_of "$pid") == "$birth" ]] && echo "$pid"
}

# `own` records the process that uses the servers, and `abandoned` returns whether that process has
# ended. The recorded process may be on another machine or in another container. Such a process is
# not visible here and never counts as ended.
own() { echo "$1 $(birth_of "$1") $(readlink /proc/self/ns/pid)" >"$STACK_DIR/owner"; } # PID
abandoned() {
    local pid birth space boot
    { read -r pid birth space <"$STACK_DIR/owner"; } 2>/dev/null || return 1
    boot=$(</proc/sys/kernel/random/boot_id)
    [[ ${birth%/*} == "$boot" && $space == "$(readlink /proc/self/ns/pid)" && $(birth_of "$pid") != "$birth" ]]
}

running() { pid_of "$1" >/dev/null; }

# Starts a program in its own session, so that Ctrl-C does not reach the program, and waits until
# the program is ready. The output of the program goes to log/NAME.log. Fails if the program ends or
# is not ready in time.
start() { # NAME SECONDS READY... -- COMMAND...
    local name=$1 deadline=$((SECONDS + $2)) pid ready=()
    shift 2
    while [[ $1 != -- ]]; do ready+=("$1") && shift; done
    shift
    (cd / && exec setsid "$@" </dev/null >"$STACK_DIR/log/$name.log" 2>&1 9>&-) &
    pid=$!
    echo "$pid $(birth_of "$pid")" >"$STACK_DIR/$name.pid"
    while ! "${ready[@]}"; do
        if ! running "$name"; then
            rm -f -- "$STACK_DIR/$name.pid"
            return 1
        fi
        if ((SECONDS >= deadline)); then
            note "$name was not ready in time"
            stop "$name" TERM KILL
            return 1
        fi
        sleep 0.05
    done
}

# Retries a start as long as it fails because another process has taken the port.
insist() { # NAME FUNCTION
    for _ in {1..5}; do
        if "$2"; then return 0; fi
        grep -qi 'in use' "$STACK_DIR/log/$1.log" || break
    done
    note "$1 did not start; the end of $STACK_DIR/log/$1.log:"
    tail -n 20 -- "$STACK_DIR/log/$1.log" >&2
    return 1
}

# Runs a command to completion. The output of the command goes to log/NAME.log, and its end is shown
# if the command fails.
logged() { # NAME COMMAND...
    local log=$STACK_DIR/log/$1.log
    shift
    if ! (cd / && "$@" </dev/null 9>&-) >>"$log" 2>&1; then
        note "failed: $1 ${2:-}; the end of $log:"
        tail -n 20 -- "$log" >&2
        return 1
    fi
}

# Sends the first signal to a program. If the program does not end in time, sends the next signal,
# and so on.
stop() { # NAME SIGNAL...
    local name=$1 pid signal
    shift
    if pid=$(pid_of "$name"); then
        for signal; do
            kill "-$signal" "$pid" 2>/dev/null || true
            for _ in {1..300}; do
                running "$name" || break 2
                sleep 0.05
            done
            note "$name did not stop within 15 s of SIG$signal"
        done
    fi
    rm -f -- "$STACK_DIR/$name.pid"
}

answers() { # PORT REQUEST PATTERN: compares the first line of the response with the pattern, without curl
    local line
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf '%b' "$2" >&3
    IFS= read -r -t 2 line <&3 || true
    exec 3<&- 3>&-
    # shellcheck disable=SC2053 # a pattern
    [[ ${line:-} == $3 ]]
}
