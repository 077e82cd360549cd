# Shell functions that demo and check share; to be sourced in the project's top directory.

say() { printf '\n== %s\n' "$*"; }

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

# install_cas DIRECTORY [EXTRA]: CAS and what it needs in a virtual environment, once.
install_cas() {
    python=$(find_python)
    stamp="$1/.installed-${2:-run}"
    wanted=$(cat setup.cfg pyproject.toml | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "setting up a private environment in $1"
        "$python" -m venv "$1"
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${2:+[$2]}"
        echo "$wanted" > "$stamp"
    fi
    # in its sandbox drgn's process cannot write what Python compiles
    "$1/bin/python" -m compileall -q cas cas_admin
}
