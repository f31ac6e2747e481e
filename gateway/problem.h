/*
 * problem.h
 *		What an error is in HTTP: its status, and its application/problem+json.
 */
#ifndef EVQ_GATEWAY_PROBLEM_H
#define EVQ_GATEWAY_PROBLEM_H

#include <stdbool.h>

#include "buffer.h"

typedef struct Problem
{
	int status;
	const char *title;
	const char *detail; /* this and what follows: NULL = there is none */
	const char *hint;
	const char *sqlstate;
} Problem;

#define PROBLEM_CONTENT_TYPE "application/problem+json"

extern int problem_status(const char *sqlstate, bool is_of_statement);
extern void problem_write(Buffer *buffer, const Problem *problem);

#endif /* EVQ_GATEWAY_PROBLEM_H */
