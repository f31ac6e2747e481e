/*
 * problem.c
 *		What an error is in HTTP.
 */
#include "problem.h"

#include <string.h>

#include "json.h"

/* SQLSTATEs, or classes of them, and their HTTP status. The first that matches counts. */
static const struct
{
	const char *sqlstate;
	int status;
} statuses[] = {
	{"EQ001", 400}, /* unknown event type or flow */
	{"EQ002", 404}, /* no such event */
	{"EQ003", 409}, /* not allowed in this state */
	{"EQ004", 409}, /* permit lost */
	{"EQ005", 413}, /* payload too large */
	{"EQ006", 400}, /* bad argument */
	{"EQ007", 501}, /* pg_cron not installed */
	{"EQ008", 409}, /* idempotency key reused */
	{"EQ009", 429}, /* limit reached */
	{"22", 400},    /* data exception: what is not JSON, not a time, ... */
	{"54001", 400}, /* JSON that is nested too deep for the server's stack */
	{"54", 413},    /* more than PostgreSQL can store */
	{"42501", 403}, /* insufficient privilege */
	{"0A000", 501}, /* not supported */
	{"25006", 503}, /* read-only transaction: a standby */
	{"40", 503},    /* serialization failure, deadlock */
	{"55000", 503}, /* no dispatcher serves the database */
	{"55P03", 503}, /* lock not available */
	{"57014", 503}, /* canceled: statement_timeout */
	{"08", 503},    /* connection */
	{"53", 503},    /* out of resources */
	{"57P", 503},   /* shutdown */
};

/* is_of_statement: the error is of the gateway's own statement, not of what that has called. */
int
problem_status(const char *sqlstate, bool is_of_statement)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
	{
		if (strncmp(sqlstate, statuses[i].sqlstate, strlen(statuses[i].sqlstate)) == 0)
			return statuses[i].status;
	}
	/* An installed extension without the function of a route. */
	if (is_of_statement && strcmp(sqlstate, "42883") == 0)
		return 501;
	return 500;
}

void
problem_write(Buffer *buffer, const Problem *problem)
{
	buffer_text(buffer, "{");
	json_pair(buffer, "title", problem->title);
	buffer_format(buffer, ",\"status\":%d", problem->status);
	json_pair(buffer, "detail", problem->detail);
	json_pair(buffer, "hint", problem->hint);
	json_pair(buffer, "sqlstate", problem->sqlstate);
	buffer_text(buffer, "}\n");
}
