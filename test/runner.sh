#!/bin/bash
# How tests are run, to be sourced by who runs them, with the project's folder as $top, the work folder as $work
# and that of the private installation's programs as $bin.
#
#   enter_run          makes the folder run/ of the work folder, with copies of what tests need, and goes there
#   make_cluster       makes the throwaway server's cluster, data/; make_socket, which that calls, the folder of its socket
#   start_server       starts it; stop_server stops it
#                      where $has_databases is set, those of the tests are there
#   run_sql NAME...    run_specs NAME...  run_pgtap FILE...  run_tap_tests FILE...
#                      run tests of a kind, and add to $passed and $failed

# shellcheck disable=SC2154 # top, work, bin
passed=0 failed=0 socket='' has_databases=''

finish()
{
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}

# give_up WHAT: a stage that cannot run is a failure, and so are its tests.
give_up()
{
	echo "FAILED: $*"
	failed=$((failed + 1))
	finish
}

as_user() { "$top/scripts/as-user" "$@" 9>&-; }

enter_run()
{
	run=$work/run
	pgxs=$(dirname "$("$bin/pg_config" --pgxs)")/../..

	# No setting of the caller's may lead to a server that is not ours.
	# shellcheck disable=SC2046
	unset $(compgen -v | grep '^PG[A-Z]')
	trap 'stop_server; rm -rf "$socket"' EXIT
	trap 'exit 1' INT TERM HUP

	rm -rf "$run" && mkdir "$run" || return
	(cd "$top" && cp -R test expected demo examples scripts README.md doc contrib "$run") || return
	chown -R "$("$top/scripts/as-user" id -un)" "$run" || return
	cd "$run" || return
	export HOME=$run PATH=$bin:$PATH:/usr/sbin:/sbin
}

# The folder of the server's socket has a short path, as it must, and nobody else can enter it.
make_socket() { socket=$(as_user mktemp --directory /tmp/evq-socket.XXXXXX); }

make_cluster()
{
	make_socket
	as_user initdb --pgdata=data --username=postgres --auth=trust --no-sync --locale=C --encoding=UTF8 \
		>initdb.log 2>&1 || { cat initdb.log; return 1; }
	cat >>data/postgresql.conf ${TEMP_CONFIG:+"$TEMP_CONFIG"} - <<-END
		listen_addresses = ''
		unix_socket_directories = '$socket'
		fsync = off
		max_prepared_transactions = 10
		shared_preload_libraries = 'evq,pg_cron'
		cron.database_name = 'contrib_regression'
		evq.enabled = off
	END
}

start_server()
{
	export PGHOST=$socket PGUSER=postgres
	as_user pg_ctl start --pgdata=data --log=server.log --wait --silent || { tail -n 20 server.log; return 1; }
}

stop_server()
{
	if [ -s "$run/data/postmaster.pid" ]; then
		as_user pg_ctl stop --pgdata="$run/data" --mode=immediate --silent
	fi
}

# run_regress PROGRAM OPTION... -- TEST...: a program of the pg_regress family,
# without its chatter.  What it does not report as passed has failed, whatever
# stopped it.  (It writes TAP since PostgreSQL 16.)
run_regress()
{
	local program=$1 options=() ok
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift

	as_user "$program" --bindir="$bin" --inputdir=test --load-extension=evq ${has_databases:+--use-existing} "${options[@]}" "$@" 2>&1 |
		tee regress.out | grep -vE '^(=.*|[A-Z ]*)$'
	ok=$(grep -cE '^(test .* \.\.\. ok |ok [0-9])' regress.out)
	passed=$((passed + ok))
	failed=$((failed + $# - ok))
	if [ "$ok" -lt $# ]; then
		cat regression.diffs
	fi
}

# run_tap OPTION... FILE...: the last line of test/tap is its count.
run_tap()
{
	local count
	as_user test/tap "$@" | tee tap.out | sed '$d'
	count=$(tail -n 1 tap.out)
	if [[ $count =~ ^([0-9]+)\ ([0-9]+)$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		echo "FAILED: test/tap did not finish: $count"
		failed=$((failed + 1))
	fi
}

run_sql()
{
	run_regress "$pgxs/src/test/regress/pg_regress" --dbname=contrib_regression -- "$@"
}

run_specs()
{
	run_regress "$pgxs/src/test/isolation/pg_isolation_regress" --outputdir=. --dbname=isolation_regression -- "$@"
}

run_pgtap()
{
	if [ -n "$has_databases" ] || as_user psql --no-psqlrc --quiet --dbname=postgres --set=ON_ERROR_STOP=1 \
		--command='DROP DATABASE IF EXISTS pgtap' --command='CREATE DATABASE pgtap' --command='\connect pgtap' \
		--command='CREATE EXTENSION pgtap' --command='CREATE EXTENSION evq'; then
		PGDATABASE=pgtap run_tap "$@"
	else
		echo 'FAILED: database for pgTAP'
		failed=$((failed + $#))
	fi
}

# They make servers of their own.  Options are those of test/tap.
run_tap_tests()
{
	if [[ " $* " == *_ui.pl* ]]; then
		"$top/test/node-packages" ui "$work/ui-packages" || give_up 'Node packages'
		export UI_PACKAGES=$work/ui-packages
	fi
	unset PGHOST PGUSER
	if [[ " $* " == *_mcp.pl* ]]; then
		"$top/test/node-packages" mcp "$work/mcp-clients" || give_up 'MCP clients'
		export MCP_CLIENTS=$work/mcp-clients
	fi
	if [[ " $* " == *_drivers.pl* || " $* " == */doc_examples.pl* ]] && command -v npm >/dev/null; then
		"$top/test/node-packages" drivers "$work/drivers" || give_up 'Node drivers'
		export NODE_DRIVERS=$work/drivers
	fi
	export PERL5LIB=$pgxs/src/test/perl PG_REGRESS=$pgxs/src/test/regress/pg_regress
	export ENGINE_SOURCES
	ENGINE_SOURCES=$(find "$top/src" -name '*.c' -printf '%f ')
	export TESTDIR=$run TESTDATADIR=$run/tmp_check TESTLOGDIR=$run/tmp_check/log top_builddir=$run
	run_tap "$@"
}
