#!/usr/bin/env bash
# What the Makefile needs done to the machine and to .venv. Every verb may be repeated: it does what is missing.
#
#   tools/setup.sh packages PURPOSE...   the Debian packages for build, run, test, bench or vm, through apt-get
#   tools/setup.sh venv                  .venv, with what building, running and testing import
#   tools/setup.sh install               cloison itself into .venv, and the tests' programs into build/
#
# On a machine without dpkg the packages are left to its owner: they are named, and nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() {
	printf 'cloison: %s\n' "$*" >&2
}

die() {
	say "$@"
	exit 1
}

# --- Debian packages -------------------------------------------------------------------------------------------------

packages_for() {
	case $1 in
	build) echo gcc git libc6-dev libseccomp2 make musl-tools ;;
	run) echo busybox-static debootstrap dnsmasq-base mmdebstrap nftables squashfs-tools-ng ;;
	test)
		echo acl attr btrfs-progs clang docker.io docker-registry e2fsprogs gnupg gpgv iperf3 iproute2 iptables isc-dhcp-client
		echo libcap2-bin libclang-rt-14-dev lxc lxc-templates lxcfs podman procps rsync shellcheck skopeo squashfs-tools
		echo strace tmux udhcpc umoci util-linux xfsprogs
		echo zstd
		;;
	bench)
		echo btrfs-progs bubblewrap crun docker.io docker-registry iperf3 iproute2 iptables lxc podman rsync runc skopeo
		echo systemd-container umoci
		;;
	vm) echo e2fsprogs mmdebstrap qemu-system-x86 ;;
	*) die "no packages for '$1': there is build, run, test, bench, vm" ;;
	esac
	if [ "$1" = build ] && ! find_python >/dev/null; then
		echo python3 python3-venv
	fi
}

is_installed() {
	[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_install() {
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends \
		-o DPkg::Lock::Timeout=300 "$@" </dev/null >/dev/null
}

# All at once, and one by one where that fails, so that the message can name the one that is to blame.
install_packages() {
	local purpose=$1 package
	local -a lost=()
	shift
	[ "$(id -u)" = 0 ] || die "to $purpose, run as root: apt-get install --no-install-recommends $*"
	say "installing Debian packages to $purpose: $*"
	apt_install "$@" 2>/dev/null && return
	for package; do
		apt_install "$package" || lost+=("$package")
	done
	[ ${#lost[@]} -gt 0 ] || return 0
	[ "$purpose" = bench ] || die "cannot $purpose: Debian package not to be had: ${lost[*]}"
	say "left out of the comparison, Debian package not to be had: ${lost[*]}"
}

packages() {
	local purpose package is_updated=no
	local -a wanted missing
	for purpose; do
		read -ra wanted -d '' < <(packages_for "$purpose") || true
		[ ${#wanted[@]} -gt 0 ] || exit 1
		if ! command -v dpkg-query >/dev/null; then
			say "not a Debian system; to $purpose it needs what Debian calls: ${wanted[*]}"
			continue
		fi
		missing=()
		for package in "${wanted[@]}"; do
			is_installed "$package" || missing+=("$package")
		done
		[ ${#missing[@]} -gt 0 ] || continue
		if [ "$is_updated" = no ] && [ "$(id -u)" = 0 ]; then
			apt-get update --quiet --quiet </dev/null >&2 || say "apt-get update failed; going on with the lists at hand"
			is_updated=yes
		fi
		install_packages "$purpose" "${missing[@]}"
	done
}

# --- Python ----------------------------------------------------------------------------------------------------------

# The real interpreter, not a version manager's shim in front of it, which costs each start some 50 ms.
find_python() {
	local candidate
	for candidate in python3 /usr/bin/python3; do
		"$candidate" -I - 2>/dev/null <<-'PYTHON' && return
			import ensurepip, sys, venv
			if sys.version_info < (3, 11):
			    sys.exit(1)
			print(sys._base_executable)
		PYTHON
	done
	return 1
}

# What pyproject.toml names, and a pip whose entry script does not import `re`, which would cost each start 5 ms.
requirements() {
	echo "pip >= 25"
	.venv/bin/python -I - <<-'PYTHON'
		import tomllib
		with open("pyproject.toml", "rb") as file:
		    table = tomllib.load(file)
		project = table["project"]
		for name in table["build-system"]["requires"] + project["dependencies"] + project["optional-dependencies"]["dev"]:
		    print(name)
	PYTHON
}

pip() {
	.venv/bin/python -m pip "$1" --quiet --quiet --disable-pip-version-check "${@:2}"
}

# setuptools goes, because its .pth file would run at every start and nothing here uses it.
make_venv() {
	local python wanted
	if ! .venv/bin/python -I -c 'import pip' 2>/dev/null; then
		python=$(find_python) || die "no Python 3.11 or later with venv; on Debian: apt-get install python3 python3-venv"
		"$python" -m venv --clear .venv
	fi
	wanted=$(requirements)
	[ "$wanted" = "$(cat .venv/requirements 2>/dev/null)" ] && return
	pip install --upgrade --requirement /dev/stdin <<<"$wanted"
	pip uninstall --yes setuptools
	printf '%s\n' "$wanted" >.venv/requirements
}

# musl, where it is there: its static start-up takes 0.25 ms where that of glibc takes 0.55. A build directory keeps the
# compiler that it was configured with, so one of another compiler is begun anew.
choose_compiler() {
	CC=${CC:-$(command -v musl-gcc || command -v gcc || echo cc)}
	export CC
	[ "$CC" = "$(cat build/.compiler 2>/dev/null)" ] && return
	rm -rf build
	mkdir -p build
	printf '%s\n' "$CC" >build/.compiler
}

# Not editable: an installed package starts faster, and is what users get. Stale bytecode must not travel along.
install_cloison() {
	choose_compiler
	find src -name __pycache__ -type d -prune -exec rm -rf {} +
	PATH=$PWD/.venv/bin:$PATH pip install --no-deps --no-build-isolation --force-reinstall \
		--config-settings=build-dir=build --config-settings=setup-args=-Dtests=true .
}

# One at a time: two makes in one tree would pull the package away under each other.
alone() {
	exec 9<.
	flock 9
	"$@"
}

case ${1-} in
packages) shift && packages "$@" ;;
venv) alone make_venv ;;
install) alone install_cloison ;;
*) die "usage: tools/setup.sh packages PURPOSE... | venv | install" ;;
esac
