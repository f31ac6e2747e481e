#!/bin/bash
# A Debian release in a folder, to be sourced by a script that root runs in the
# project's folder.
#
#   go_apart "$0" "$@"   starts the script again with mounts and processes of its
#                        own, which go when it does
#   make_root RELEASE SCRIPT
#                        installs a bare Debian into $root with debootstrap, if it
#                        is not there yet; SCRIPT is the release whose script
#                        debootstrap takes, for it lacks those of later ones
#   mount_root           what a program finds on any running system
#   inside COMMAND...    as root of the installation in $root
#   unmount_root
#   mirror               the address of the Debian archive that apt uses here
#
# What fails says so, after the name of the script.

folder_user=$(basename "$0") root=

say() { printf '\n== %s\n' "$*"; }

fail()
{
	echo "$folder_user: $*" >&2
	return 1
}

go_apart()
{
	if [ "$(id -u)" -ne 0 ]; then
		fail "only root may make and enter an installation of Debian"
		exit 1
	fi
	if [ -z "${APART:-}" ]; then
		export APART=1
		exec unshare --mount --pid --fork --kill-child --mount-proc "$@" ||
			exit 1
	fi
}

mirror()
{
	# shellcheck disable=SC2016 # the names are apt-get's
	apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 'Origin: Debian' |
		sed -n 's/ Debian$//p' | head -n 1
}

inside()
{
	env --ignore-environment HOME=/root LANG=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
		chroot "$root" "$@" </dev/null
}

# It is complete if it has the file evq-complete.
make_root()
{
	local release=$1 script=$2 archive
	[ -e "$root/evq-complete" ] && return
	archive=$(mirror)
	[ -n "$archive" ] || fail 'apt is configured with no Debian archive' || return

	say "Debian $release in $root"
	rm -rf --one-file-system "$root"
	mkdir -p "$root"
	# It writes to the terminal what matters to nobody, unless it fails.
	if ! debootstrap --variant=minbase "$release" "$root" "$archive" "$script" >"$root.log" 2>&1; then
		tail -n 20 "$root.log" >&2
		fail "debootstrap failed, see $root.log"
		return
	fi
	# A mirror may lag behind, which matters little for folders that serve nobody.
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/evq"
	# debootstrap mounts and leaves what it needs itself; now we do.
	umount --recursive --lazy "$root/proc" "$root/sys" 2>/dev/null || true
	touch "$root/evq-complete"
}

mount_root()
{
	mount --bind "$root" "$root" &&
		mount -t proc proc "$root/proc" &&
		mount --rbind /dev "$root/dev" &&
		cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/" &&
		printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && # no service starts
		chmod 755 "$root/usr/sbin/policy-rc.d" ||
		fail "cannot mount what $root needs"
}

unmount_root() { umount --recursive --lazy "$root"; }
