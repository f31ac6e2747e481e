/*
 * line.h
 *		A connection for statements, and the batch of them that it is at.
 */
#ifndef EVQ_GATEWAY_LINE_H
#define EVQ_GATEWAY_LINE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "routes.h"
#include "statements.h"

#define CALL_VALUES 4
#define LINE_MOST_UNCONFIRMED \
	3 /* what a batch can prepare: its settings, and its calls' statement, or the joint one */

typedef enum CallState
{
	CALL_IDLE,
	CALL_WAITING, /* for a line */
	CALL_RUNNING,
	CALL_DOUBTED /* its release is asked for */
} CallState;

/* A statement under way; its texts stay until done(). */
typedef struct Call
{
	const char *sql;     /* stays for ever, as old_sql */
	const char *old_sql; /* in place of sql where release_is_old(); NULL = it is the same there */
	const char *role;    /* NULL = that of the connection */
	const char *client;  /* becomes part of application_name; NULL = need not be known */
	const char *values[CALL_VALUES];
	int value_count;
	Lane lane;
	bool may_share; /* a transaction with others of the same sql and role */

	/* Does what sql does for several that share one, for arrays of this jsonb and text of each, a row for each; NULL = none. */
	const char *joint_sql;
	const char *joint_json;
	const char *joint_text;

	/* After the commit, or its failure. result: NULL = the connection was lost, and nobody knows; or was never had. */
	void (*done)(struct Call *call, const PGresult *result);
	bool has_waited_too_long; /* for a line: nothing was done */

	CallState state;
	PGresult *result;
	bool is_repeated;
	bool is_abandoned; /* nobody waits for the answer any more */
	bool was_old;      /* old_sql was sent */
	int64_t since;     /* it came, as loop_now() */
	struct Call *next;
} Call;

typedef struct Line Line;

typedef enum LineEnd
{
	LINE_COMMITTED, /* the calls have their results */
	LINE_FAILED,    /* nothing was done, see error */
	LINE_LOST       /* nobody knows */
} LineEnd;

/* Called when the line can be had again, after its batch or without one: up() and ended(), whose error is the user's then. */
typedef struct LineUser
{
	void (*up)(Line *line);
	void (*ended)(Line *line, Call *calls, LineEnd end, PGresult *error);
	void (*down)(Line *line);
} LineUser;

struct Line
{
	Connection connection;
	const LineUser *user;
	Statements statements;

	Call *calls;          /* of the batch, which is a transaction; NULL = it has none */
	Call *turn;           /* the one whose result is next; the first one, where the result is that of all */
	bool is_joint;        /* one statement does all of them */
	int awaited_settings; /* whose results come before those of the calls */
	Statement *unconfirmed
		[LINE_MOST_UNCONFIRMED]; /* those that the batch prepares, in order, as long as their success is not known */
	PGresult *error;             /* the first one */
	int64_t heard_at;            /* when the last result came, or the batch went */

	Lane lane; /* the rest is its user's */
	void *turn_of;
	bool is_stopping;
	Call stop;
	char stop_pid[16];
};

extern void line_start(Line *line, const LineUser *user, const ConnectionUser *setting);
extern void line_stop(Line *line);
extern bool line_is_up(const Line *line);
extern bool line_send(Line *line, Call *calls);
extern void line_check(Line *line);

/* What users of connections that are lines call them with. */
extern const ConnectionUser line_connection;

#endif /* EVQ_GATEWAY_LINE_H */
