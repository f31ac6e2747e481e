/*
 * errors.h
 *		evq's own SQLSTATEs, and the context of errors in lists. doc/errors.md tells users what to do about each.
 */
#ifndef EVQ_ERRORS_H
#define EVQ_ERRORS_H

#include "utils/elog.h"

#define EVQ_ERRCODE_UNKNOWN_TYPE MAKE_SQLSTATE('E', 'Q', '0', '0', '1')
#define EVQ_ERRCODE_NO_SUCH_EVENT MAKE_SQLSTATE('E', 'Q', '0', '0', '2')
#define EVQ_ERRCODE_WRONG_STATE MAKE_SQLSTATE('E', 'Q', '0', '0', '3')
#define EVQ_ERRCODE_PERMIT_LOST MAKE_SQLSTATE('E', 'Q', '0', '0', '4')
#define EVQ_ERRCODE_PAYLOAD_TOO_LARGE MAKE_SQLSTATE('E', 'Q', '0', '0', '5')
#define EVQ_ERRCODE_BAD_ARGUMENT MAKE_SQLSTATE('E', 'Q', '0', '0', '6')
#define EVQ_ERRCODE_NO_CRON MAKE_SQLSTATE('E', 'Q', '0', '0', '7') /* raised in SQL only */
#define EVQ_ERRCODE_KEY_REUSED MAKE_SQLSTATE('E', 'Q', '0', '0', '8')
#define EVQ_ERRCODE_LIMIT_REACHED MAKE_SQLSTATE('E', 'Q', '0', '0', '9')

/* Tells, while a list is worked on, at which element an error arose. */
typedef struct EvqPosition
{
	ErrorContextCallback callback;
	const char *what; /* one element of the list; NULL = say nothing */
	int index;
} EvqPosition;

extern void evq_position_begin(EvqPosition *position, const char *what);
extern void evq_position_end(EvqPosition *position);

#endif /* EVQ_ERRORS_H */
