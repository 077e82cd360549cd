# Shell functions that demo and check share; to be sourced in the project's top directory.

step=start
logs=

say() {
    step=$*
    printf '\n== %s\n' "$step"
}

# At the end, after a failure: which step it was, and the newest of its logs.
told_of_failure() {
    status=$?
    [ "$status" = 0 ] && return
    printf '\n== FAILED, with status %s, in this step: %s\n' "$status" "$step" >&2
    # shellcheck disable=SC2086  logs are a pattern
    log=${logs:+$(ls -t $logs 2>/dev/null | head -n 1)}
    [ -z "$log" ] || echo "its log: $log" >&2
}

find_python() {
    for python in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$python" ] && "$python" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "Python 3.11 or later with venv is needed; on Debian: apt-get install python3-venv" >&2
    exit 2
}

# why_not_fetched LOG: what pip met, in one sentence.
why_not_fetched() {
    if grep -q 'CERTIFICATE_VERIFY_FAILED' "$1"; then
        echo "pip does not trust the certificate of the Python package index: name who signed it" \
            "(pip config set global.cert FILE), then run the same command again"
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeout|Max retries exceeded' "$1"; then
        echo "pip cannot reach the Python package index: see to the network, or name an index that" \
            "can be reached (pip config set global.index-url URL), then run the same command again"
    else
        # of a pip that pip has started, the error itself, not that it had one
        echo "pip cannot install what CAS needs: $(sed -n 's/^ *\(ERROR\|error\): //p' "$1" |
            grep -v '^subprocess-exited' | tail -n 1)"
    fi
}

# install_cas DIRECTORY [EXTRA]: CAS and what it needs in a virtual environment, once.
install_cas() {
    python=$(find_python)
    stamp="$1/.installed-${2:-run}"
    wanted=$(cat setup.cfg pyproject.toml | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "setting up a private environment in $1"
        "$python" -m venv "$1"
        logs="$PWD/$1/setup.log"
        if ! "$1/bin/python" -m pip install --disable-pip-version-check --editable ".${2:+[$2]}" \
            > "$logs" 2>&1; then
            why_not_fetched "$logs" >&2
            exit 1
        fi
        echo "$wanted" > "$stamp"
        logs=
    fi
    # in its sandbox drgn's process cannot write what Python compiles
    "$1/bin/python" -m compileall -q cas cas_admin
}
