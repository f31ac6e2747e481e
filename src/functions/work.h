/*
 * work.h
 *		What the functions of a worker do with many events at once, for those that do it with a batch.
 */
#ifndef EVQ_WORK_H
#define EVQ_WORK_H

#include "session/acquire.h"
#include "session/arguments.h"

/* Is told of an event on which a report was made. */
typedef void (*EvqWorkReported)(void *context, const pg_uuid_t *event_id, bool accepted);

extern void evq_work_put_row(FunctionCallInfo fcinfo, const Datum *values, const bool *nulls);
extern MemoryContext evq_work_make_row_context(void);
extern void evq_work_read_wanted(FunctionCallInfo fcinfo, int flow_argno, int argno, uint64 configuration,
								 EvqAcquireNext *wanted);

/* These return how many were accepted. */
extern int evq_work_succeed(EvqStore *store, const EvqReports *reports, EvqWorkReported tell, void *context);
extern int evq_work_fail(FunctionCallInfo fcinfo, const char *function, const EvqReports *reports,
						 const EvqFailureReport *report);
extern int
evq_work_extend(FunctionCallInfo fcinfo, const char *function, const EvqReports *reports, int64 extend_by);
extern void evq_work_warn_of_lost(int lost, int count);

#endif /* EVQ_WORK_H */
