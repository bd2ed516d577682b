#!/bin/bash
# The main job, end to end: from nothing to a running Debian system, and back to nothing.
# Each command is printed before it runs. What is kept is the image, below build/demo: the second run is quick.
set -euo pipefail
cd "$(dirname "$0")/.."
export CLOISON_ROOT="$PWD/build/demo"
PATH="$PWD/.venv/bin:$PATH"
NAME=demo

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() {
	local word shown='$'
	for word; do
		case $word in
		*[!A-Za-z0-9/.,:=_-]*) shown+=" ${word@Q}" ;;
		*) shown+=" $word" ;;
		esac
	done
	printf '\033[32m%s\033[0m\n' "$shown"
	"$@"
}

# systemd answers once its bus is there, some tenths of a second after the start.
run_when_booted() {
	local try
	for try in {1..100}; do
		cloison exec "$NAME" -- systemctl is-system-running --wait >/dev/null 2>&1 && break
		[ "$try" != 100 ] || echo "it did not boot within ten seconds" >&2
		sleep 0.1
	done
	run "$@"
}

# Whatever an interrupted run left behind is taken back first, and nothing is left when this one is interrupted.
tidy() { cloison delete --force "$NAME" busy >/dev/null 2>&1 || true; cloison network delete cloison0 >/dev/null 2>&1 || true; }
trap tidy EXIT
tidy

say "What this host offers"
run cloison check

say "A small container first: BusyBox needs nothing from the Internet, and is built in under a second"
run cloison launch busybox busy --set limits.memory=64M
# shellcheck disable=SC2016 # it is the shell inside that expands
run cloison exec busy -- sh -c 'echo "root inside is $(id -u), and sees $(ls /proc | grep -c "^[0-9]") processes"'

say "A whole Debian 12: built by mmdebstrap the first time, then started from the cache"
run cloison launch debian/12 "$NAME" --set limits.memory=512M --set limits.cpus=1.5 --set limits.processes=500

say "systemd is its init; wait until it says that the system runs"
run_when_booted cloison exec "$NAME" -- systemctl is-system-running
run cloison exec "$NAME" -- systemctl --no-pager list-units --type=service --state=running
run cloison exec "$NAME" -- ps ax

say "Root inside is nobody on the host"
run cloison ls
run cloison info "$NAME"

say "Both are on the network cloison0, which came up with the first: the host reaches them, and they each other by name"
# shellcheck disable=SC2016 # it is the shell inside that expands
run cloison exec busy -- sh -c 'echo "hello from $(hostname)" >/index.html; httpd -h /'
run busybox wget -q -O - "http://$(cloison exec busy -- hostname -i)/"
run cloison exec "$NAME" -- ping -c 1 busy.cloison
run cloison network info cloison0 | sed '/^Leases/,$d'
run cloison delete --force busy

say "Limits change while it runs"
run cloison set "$NAME" limits.memory=256M
run cloison get "$NAME" limits.memory

say "Every start is a plan that can be read before it runs"
run cloison explain "$NAME" | sed -n '1,40p'
echo "    ... (cloison explain $NAME prints all of it)"

say "It reboots itself, and comes back"
run cloison exec "$NAME" -- systemctl reboot
run sleep 1
run_when_booted cloison exec "$NAME" -- systemctl is-system-running
run cloison exec "$NAME" -- uptime

say "Stop it as its power button would, and leave nothing behind"
run cloison stop "$NAME"
run cloison logs --lines 5 "$NAME"
run cloison delete "$NAME"
run cloison network delete cloison0
run cloison ls
run cloison repair
say "Done. The image is kept in $CLOISON_ROOT; make clean removes it."
