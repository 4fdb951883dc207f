#!/bin/sh
# Write requirements/*.txt from pyproject.toml: every version fixed, every file known by its hash, no index named.
# UPGRADE=1 takes the newest versions; otherwise only what pyproject.toml asks for changes.
set -eu
cd "$(dirname "$0")/../.."

python=.venv/bin/python
"$python" -m uv --version >/dev/null 2>&1 || "$python" -m pip install --quiet --disable-pip-version-check uv

compile() {
    output=$1
    shift
    "$python" -m uv pip compile pyproject.toml --quiet --universal --python-version 3.12 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --output-file "$output" "$@"
    printf '%s: %s packages\n' "$output" "$(grep -c '==' "$output")"
}

# What only tests of the chart need, apart from all else.
compile_group() {
    group=$1
    shift
    "$python" -m uv pip compile --group "pyproject.toml:$group" --quiet --universal --python-version 3.12 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --output-file "requirements/$group.txt" "$@"
    printf 'requirements/%s.txt: %s packages\n' "$group" "$(grep -c '==' "requirements/$group.txt")"
}

# The others are parts of the first, so that no version differs between what is tested and what is shipped.
compile requirements/dev.txt --group local --group infra --group dev ${UPGRADE:+--upgrade}
compile requirements/local.txt --group local --constraint requirements/dev.txt ${UPGRADE:+--upgrade}
compile requirements/runtime.txt --constraint requirements/dev.txt ${UPGRADE:+--upgrade}
compile_group infra --constraint requirements/dev.txt ${UPGRADE:+--upgrade}
compile_group tools --no-deps ${UPGRADE:+--upgrade}
compile_group checkov ${UPGRADE:+--upgrade}
