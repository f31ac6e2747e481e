/*
 * trace.h
 *		What the dispatcher says of its work: with DEBUG1 each turn, sweep and sleep, with DEBUG2 each event.
 *
 * With evq.trace these lines go to the server's log whatever log_min_messages is.
 */
#ifndef EVQ_TRACE_H
#define EVQ_TRACE_H

#include "utils/elog.h"

#include "base/guc.h"

/* The level of a line. */
#define EVQ_TRACE_LEVEL(level) (evq_trace ? LOG : (level))

/* Would such a line be written? For what is said so often that asking must cost nothing. */
#define EVQ_TRACES(level) (evq_trace || message_level_is_interesting(level))

/* Writes a line, as errmsg_internal() does. Raises nothing. */
#define EVQ_TRACE(level, ...) \
	ereport(EVQ_TRACE_LEVEL(level), (errmsg_internal(__VA_ARGS__), errhidestmt(true)))

#endif /* EVQ_TRACE_H */
