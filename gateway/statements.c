/*
 * statements.c
 *		The statements that a connection has prepared.
 *
 * One for each text and role: what PostgreSQL finds out about a statement as one role shall serve no other.
 */
#include "statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* Roles are as many as tokens; what comes beyond is not prepared. */
#define MOST 256

static bool
is_of(const Statement *statement, const char *sql, const char *role)
{
	if (statement->sql != sql)
		return false;
	if (role == NULL || statement->role == NULL)
		return role == statement->role;
	return strcmp(role, statement->role) == 0;
}

static void
give_name(Statements *statements, Statement *statement)
{
	snprintf(statement->name, sizeof(statement->name), "evq_%d", ++statements->names);
	statement->is_prepared = false;
}

/* It stays where it is until statements_free(). NULL = there are too many. */
Statement *
statements_find(Statements *statements, const char *sql, const char *role)
{
	Statement *statement;

	for (int i = 0; i < statements->count; i++)
	{
		if (is_of(&statements->all[i], sql, role))
			return &statements->all[i];
	}
	if (statements->count == MOST)
		return NULL;
	if (statements->all == NULL)
		statements->all = memory_array(MOST, sizeof(Statement));
	statement = &statements->all[statements->count++];
	statement->sql = sql;
	statement->role = role != NULL ? memory_string(role) : NULL;
	give_name(statements, statement);
	return statement;
}

/* It is to be prepared anew, by another name: the old one stays, and will not do. */
void
statements_forget(Statements *statements, const char *sql, const char *role)
{
	Statement *statement = statements_find(statements, sql, role);

	if (statement != NULL)
		give_name(statements, statement);
}

/* The connection has ended, and they with it. */
void
statements_free(Statements *statements)
{
	for (int i = 0; i < statements->count; i++)
		free(statements->all[i].role);
	free(statements->all);
	memset(statements, 0, sizeof(*statements));
}
