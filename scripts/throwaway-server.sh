#!/bin/bash
# A PostgreSQL server with evq that no other server notices, to be sourced by a
# script that runs in the project's folder.
#
#   start_server NAME [INITDB_OPTION...] <SETTINGS
#       builds evq, makes a cluster in a new folder below NAME in the work
#       folder, appends SETTINGS to its configuration and starts it.  Then $run
#       is the folder (data/, server.log), $socket the server's address, $bin
#       the folder of its programs, and the environment leads to it.
#   server_runs
#   remove_server
#       stops it and removes all that it had

top=$PWD work='' run='' socket='' bin=''

as_user() { "$top/scripts/as-user" "$@"; }

start_server()
{
	local name=$1 settings
	shift
	settings=$(cat)

	# No setting of the caller's may lead to a server that is not ours.
	# shellcheck disable=SC2046
	unset $(compgen -v | grep '^PG[A-Z]') || true

	echo 'building ...'
	work=$(scripts/work-folder)
	bin=$(scripts/private-install)
	mkdir -p "$work/$name"
	run=$(mktemp --directory "$work/$name/run.XXXXXX")
	chown "$(as_user id -un)" "$run"

	# It has no TCP port: it is reached through a socket in a folder that only its
	# user can enter, and whose path is short enough.
	socket=$(cd / && as_user mktemp --directory "/tmp/evq-$name.XXXXXX")
	in_run "$bin/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C "$@" \
		>"$run/initdb.log" 2>&1 || { cat "$run/initdb.log"; return 1; }
	cat >>"$run/data/postgresql.conf" <<-END
		$settings
		listen_addresses = ''
		unix_socket_directories = '$socket'
	END
	in_run "$bin/pg_ctl" start --pgdata=data --log=server.log --wait --silent || { tail -n 20 "$run/server.log"; return 1; }

	export PATH=$bin:$PATH PGHOST=$socket PGUSER=postgres PGOPTIONS='-c client_min_messages=warning'
}

# in_run COMMAND...: as the server's user, who may not see the project's folder.
in_run() { (cd "$run" && as_user "$@"); }

server_runs() { [ -n "$run" ] && [ -s "$run/data/postmaster.pid" ]; }

remove_server()
{
	if server_runs; then
		in_run "$bin/pg_ctl" stop --pgdata=data --mode=immediate --silent || true
	fi
	[ -z "$run" ] || rm -rf "$run"
	[ -z "$socket" ] || rm -rf "$socket"
}
