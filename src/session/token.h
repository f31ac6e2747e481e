/*
 * token.h
 *		The token of a batch: a value that names its events and permits.
 */
#ifndef EVQ_TOKEN_H
#define EVQ_TOKEN_H

#include "session/arguments.h"

typedef struct EvqToken
{
	EvqReports reports;
	bool is_of_here; /* false = it was made in another database, or restored with one */
} EvqToken;

extern Datum evq_token_make(const pg_uuid_t *event_ids, const int64 *permits, int count);
extern void evq_token_read(FunctionCallInfo fcinfo, int argno, EvqToken *token);

#endif /* EVQ_TOKEN_H */
