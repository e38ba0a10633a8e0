# Sourced by the entry scripts: goes to the project's root, makes node_modules match package-lock.json, and sets $bun to
# the Bun binary that came from npm, whether or not npm ran its install script.

fail() {
  echo "error: $1" >&2
  exit 1
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1

dependencies_are_current() {
  [ -f node_modules/.package-lock.json ] || return 1
  [ -z "$(find package-lock.json -newer node_modules/.package-lock.json)" ] && return 0
  # A checkout touches the file without changing it: the copy made after the last install tells.
  cmp -s package-lock.json node_modules/.lake-package-lock.json
}

if ! dependencies_are_current; then
  command -v npm >/dev/null 2>&1 || fail 'npm is missing: install Node.js 20 or newer (https://nodejs.org), then run this again'
  echo 'installing the dependencies (npm ci)' >&2
  npm ci --no-audit --no-fund --no-update-notifier --loglevel=error >&2 || fail 'npm ci ended with an error, see above'
  cp package-lock.json node_modules/.lake-package-lock.json
fi

# npm 11 may skip install scripts: then the binary is still in the platform's package, and bun.exe is a text placeholder.
bun=
for candidate in node_modules/bun/bin/bun.exe node_modules/@oven/bun-*/bin/bun; do
  if [ -f "$candidate" ] && [ "$(wc -c <"$candidate")" -gt 1000000 ] && [ "$("$candidate" --revision 2>/dev/null)" ]; then
    bun=$root/$candidate
    break
  fi
done
[ "$bun" ] || fail 'no Bun for this machine in node_modules: run  npm ci  and see https://bun.com/docs/installation'
