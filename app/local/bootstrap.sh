#!/bin/sh
# Make the virtual environment .venv and install what a requirements file names:
#
#   bootstrap.sh requirements/local.txt
#
# All it takes is a Python; this script finds one, wherever one usually is, and app/local/install.py does the rest.
# PYTHON=/path/to/python chooses. Nothing is done when everything is installed already.
set -eu

requirements=${1:?"usage: bootstrap.sh requirements/<name>.txt"}
cd "$(dirname "$0")/../.."

# Releases with wheels for every package, best first; `uv` gets the second where none is found.
VERSIONS="3.14 3.13 3.12"
WANTED=3.13

say() { printf '%s\n' "$*" >&2; }

# Print the version of a Python that can make virtual environments and speaks TLS, or fail.
version_of() {
    "$1" -I -c 'import ctypes, ensurepip, ssl, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Tell whether this is a Python that every package has wheels for.
is_supported() {
    version=$(version_of "$1") || return 1
    case " $VERSIONS " in *" $version "*) return 0 ;; esac
    return 1
}

# Every Python that may be here, one path a line. Patterns without a match stay as they are and fail to run.
candidates() {
    home=${HOME:-/nonexistent}
    data=${XDG_DATA_HOME:-$home/.local/share}
    for version in $VERSIONS; do
        command -v "python$version" || true
    done
    command -v python3 || true
    command -v python || true
    for pattern in \
        "${PYENV_ROOT:-$home/.pyenv}"/versions/*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-$data/uv/python}"/*/bin/python3 \
        "${MISE_DATA_DIR:-$data/mise}"/installs/python/*/bin/python3 \
        "${ASDF_DATA_DIR:-$home/.asdf}"/installs/python/*/bin/python3 \
        "$home"/miniconda3/bin/python3 "$home"/miniforge3/bin/python3 "$home"/anaconda3/bin/python3 \
        /opt/homebrew/bin/python3.1? /usr/local/bin/python3.1? /usr/bin/python3.1? \
        /Library/Frameworks/Python.framework/Versions/3.1?/bin/python3; do
        printf '%s\n' "$pattern"
    done
}

# Print the best Python of this machine, or fail.
find_python() {
    found=$(candidates | awk '!seen[$0]++' | while IFS= read -r path; do
        if version=$(version_of "$path"); then
            printf '%s %s\n' "$version" "$path"
        fi
    done)
    for version in $VERSIONS; do
        path=$(printf '%s\n' "$found" | sed -n "s/^$version //p" | head -n 1)
        if [ -n "$path" ]; then
            printf '%s\n' "$path"
            return 0
        fi
    done
    return 1
}

# Print where `uv` is; an older Python with pip may fetch it.
find_uv() {
    for uv in uv "${HOME:-/nonexistent}/.local/bin/uv" "${HOME:-/nonexistent}/.cargo/bin/uv" .venv-uv/bin/uv; do
        if "$uv" --version >/dev/null 2>&1; then
            printf '%s\n' "$uv"
            return 0
        fi
    done
    for python in python3 python; do
        if "$python" -m pip --version >/dev/null 2>&1; then
            say "No Python 3.12 or newer here; fetching uv, which can get one ..."
            if PIP_USER=0 "$python" -m pip install --quiet --disable-pip-version-check --target .venv-uv uv >&2; then
                printf '%s\n' .venv-uv/bin/uv
                return 0
            fi
        fi
    done
    return 1
}

# Let `uv` get a Python, and print its path.
fetch_python() {
    uv=$(find_uv) || return 1
    say "Getting Python $WANTED with uv ..."
    "$uv" python install --quiet "$WANTED" >&2 || return 1
    "$uv" python find --managed-python "$WANTED"
}

give_up() {
    say ""
    say "This project needs Python 3.12, 3.13 or 3.14, and none was found: not on PATH, not in pyenv, uv, mise, asdf or conda,"
    say "and none could be fetched. Install one in any of these ways, then run the same command again:"
    case $(uname -s) in
    Darwin) say "  brew install python@$WANTED" ;;
    *) say "  Debian 13, Ubuntu 24.04 or newer:  sudo apt-get install python3 python3-venv" ;;
    esac
    say "  anywhere, without root:            curl -LsSf https://astral.sh/uv/install.sh | sh && uv python install $WANTED"
    say "  with pyenv:                        pyenv install $WANTED"
    say "Or name one yourself:                PYTHON=/path/to/python3 make run"
    exit 1
}

if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
    if ! is_supported "$python"; then
        say "PYTHON=$PYTHON does not run, is none of $VERSIONS, or lacks the modules venv, ensurepip, ssl or ctypes."
        exit 1
    fi
elif is_supported .venv/bin/python; then
    python=.venv/bin/python
else
    python=$(find_python) || python=$(fetch_python) || give_up
fi

exec "$python" -I app/local/install.py "$requirements"
