/*
 * session.c
 *		How a session in the database begins.
 */
#include "session.h"

#include <stdio.h>

#include "options.h"

/* What the connection string says comes later and counts more, except for what we rely on. */
static const char *const keywords[] = {"fallback_application_name", "keepalives_idle",
									   "keepalives_interval",       "keepalives_count",
									   "tcp_user_timeout",          "dbname",
									   "client_encoding",           NULL};

#define VALUES                                                                 \
	{                                                                          \
		"evq-gateway", "10", "5", "3", "20000", options.database, "UTF8", NULL \
	}

PGconn *
session_connect(void)
{
	const char *values[] = VALUES;

	return PQconnectdbParams(keywords, values, 1);
}

/* PQconnectPoll() goes on. */
PGconn *
session_begin_to_connect(void)
{
	const char *values[] = VALUES;

	return PQconnectStartParams(keywords, values, 1);
}

/*
 * The first statement, which returns no row where evq is not installed. Our functions are found in the extension's
 * schema, whatever the database's or the role's search_path; JSON looks the same everywhere.
 */
const char *
session_set_up(char *sql)
{
	snprintf(
		sql, SESSION_SET_UP_SIZE,
		"SELECT pg_catalog.set_config('search_path', pg_catalog.quote_ident(n.nspname) || ', pg_temp', false),"
		" pg_catalog.set_config('statement_timeout', '%ds', false), pg_catalog.set_config('TimeZone', 'UTC', false),"
		" pg_catalog.set_config('DateStyle', 'ISO', false), pg_catalog.set_config('IntervalStyle', 'postgres', false)"
		" FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'evq'",
		options.statement_timeout);
	return sql;
}
