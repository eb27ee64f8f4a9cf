#!/bin/bash
# Resolve what a cluster needs beyond requirements.lock, with hashes: lock.sh UV. `make lock-cluster` calls it.
set -euo pipefail
uv=$1
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# resolve EXTRA OUTPUT HEAD LOCK...: what the extra needs beside the given locks, whose versions stay.
resolve() {
    local extra=$1 output=$2 head=$3
    shift 3
    # The S3 side of DVC takes no python-dateutil 4 yet: the only version that may change.
    sed -n 's/^\([A-Za-z0-9][^ ]*==[^ ]*\).*/\1/p' "$@" | grep -v '^python-dateutil==4' >"$scratch/$extra.fixed"
    sed -E 's/(\[.*\])?==.*//; s/^/--no-emit-package=/' "$scratch/$extra.fixed" | xargs \
        "$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --no-header --constraints "$scratch/$extra.fixed" --extra "$extra" --output-file "$scratch/$extra.lock" \
        pyproject.toml
    { printf '%s\n' "$head"; cat "$scratch/$extra.lock"; } >"$output.partial"
    mv "$output.partial" "$output"
}

resolve cluster docker/cluster.lock "# What a cluster needs beyond requirements.lock, made by \`make lock-cluster\`. python-dateutil is older here: the
# S3 side of DVC does not take version 4 yet; nothing in requirements.lock needs that." requirements.lock
resolve cluster-local docker/local.lock \
    "# The S3 server of \`make cluster\`, made by \`make lock-cluster\`: it keeps everything in memory." \
    requirements.lock docker/cluster.lock
resolve spark docker/spark.lock "# Spark for tables, made by \`make lock-cluster\`; it needs Java 17 or later besides." \
    requirements.lock docker/cluster.lock docker/local.lock
