#!/bin/sh
# Makes .env for docker-compose.yml from .env.example: every name without a value gets a random secret. An .env that is there stays as it is, since the volumes were
# made with its secrets. Usage: sh deploy/make-env.sh [FILE]
set -eu
umask 077

example=$(dirname "$0")/../.env.example
file=${1:-$(dirname "$0")/../.env}

if [ -e "$file" ]; then
  echo "$file is there already and stays as it is."
  exit 0
fi

# 32 random bytes in hexadecimal.
secret() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# Written beside its place and renamed, so that one that is there is whole.
draft=$file.$$
trap 'rm -f "$draft"' EXIT
while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    '#'*) printf '%s\n' "$line" ;;
    *=) printf '%s%s\n' "$line" "$(secret)" ;;
    *) printf '%s\n' "$line" ;;
  esac
done <"$example" >"$draft"
mv "$draft" "$file"
echo "$file made, with new secrets, readable by you alone."
