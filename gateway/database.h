/*
 * database.h
 *		Statements in the database, many at once.
 */
#ifndef EVQ_GATEWAY_DATABASE_H
#define EVQ_GATEWAY_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>

#define DATABASE_VALUES 4

/* A statement under way; its texts stay until done(). */
typedef struct Call
{
	const char *sql;  /* stays for ever */
	const char *role; /* NULL = that of the connection */
	const char *values[DATABASE_VALUES];
	int value_count;
	bool may_share; /* a transaction with others of the same sql and role */

	/* After the commit, or its failure. result: NULL = the connection was lost, and nobody knows. */
	void (*done)(struct Call *call, const PGresult *result);

	PGresult *result;
	bool is_repeated;
	struct Call *next;
} Call;

extern void database_start(void);
extern void database_stop(void);
extern bool database_is_up(void);
extern bool database_submit(Call *call);

#endif /* EVQ_GATEWAY_DATABASE_H */
