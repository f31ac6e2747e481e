/*
 * statements.h
 *		The statements that a connection has prepared.
 */
#ifndef EVQ_GATEWAY_STATEMENTS_H
#define EVQ_GATEWAY_STATEMENTS_H

#include <stdbool.h>

typedef struct Statement
{
	const char *sql; /* compared by its address */
	char *role;      /* NULL = that of the connection */
	char name[16];
	bool is_prepared;
} Statement;

/* Begins as zeros. */
typedef struct Statements
{
	Statement *all;
	int count;
	int names;
} Statements;

extern Statement *statements_find(Statements *statements, const char *sql, const char *role);
extern void statements_forget(Statements *statements, const char *sql, const char *role);
extern void statements_free(Statements *statements);

#endif /* EVQ_GATEWAY_STATEMENTS_H */
