#!/bin/sh
# Look up the digest of each image in images.txt and write it into .env, which `docker compose` reads. Run again: renewed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
partial=$here/.env.partial
: >"$partial"
while read -r variable image; do
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
    case $digest in
    sha256:*) ;;
    *)
        echo "$image: no digest, but: $digest" >&2
        exit 69
        ;;
    esac
    echo "$variable=${image%:*}@$digest" >>"$partial"
done <"$here/images.txt"
mv "$partial" "$here/.env"
cat "$here/.env"
