/*
 * session.c
 *		How a session in the database begins.
 */
#include "session.h"

#include <stdio.h>

#include "options.h"
#include "release.h"

/* For a connection to one of the hosts, all together, in milliseconds. */
#define CONNECT_TIMEOUT 10000

/* What the connection string says comes later and counts more, except for what we rely on. */
static const char *const keywords[] = {"fallback_application_name", "keepalives_idle",
									   "keepalives_interval",       "keepalives_count",
									   "tcp_user_timeout",          "dbname",
									   "client_encoding",           NULL};

Connector *
session_connector(void)
{
	static const char *values[] = {"evq-gateway", "10", "5", "3", "20000", NULL, "UTF8", NULL};

	values[5] = options.database;
	return connector_create(keywords, values, CONNECT_TIMEOUT);
}

/*
 * The first statement, which returns no row where evq is not installed. Our functions are found in the extension's
 * schema, whatever the database's or the role's search_path; JSON looks the same everywhere. Timeouts are in milliseconds, 0 = none.
 * release_learn() takes the result.
 */
const char *
session_set_up(char *sql, int statement_timeout, int lock_timeout)
{
	snprintf(
		sql, SESSION_SET_UP_SIZE,
		"SELECT pg_catalog.set_config('search_path', pg_catalog.quote_ident(n.nspname) || ', pg_temp', false),"
		" pg_catalog.set_config('statement_timeout', '%d', false),"
		" pg_catalog.set_config('lock_timeout', '%d', false), pg_catalog.set_config('TimeZone', 'UTC', false),"
		" pg_catalog.set_config('idle_session_timeout', '0', false),"
		" pg_catalog.set_config('default_transaction_isolation', 'read committed', false),"
		" pg_catalog.set_config('DateStyle', 'ISO', false), pg_catalog.set_config('IntervalStyle', 'postgres', false),"
		" " RELEASE_IS_OLD_SQL " AS " RELEASE_COLUMN
		" FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'evq'",
		statement_timeout, lock_timeout);
	return sql;
}
