/*
 * arguments.h
 *		Between SQL and JSON values and what the verbs take.
 *
 * argno counts from 0. Bad values raise EQ001, EQ005 or EQ006, with their name. What
 * is returned is in the current memory context, or a part of the argument.
 */
#ifndef EVQ_ARGUMENTS_H
#define EVQ_ARGUMENTS_H

#include "fmgr.h"

#include "session/lifecycle.h"

/* The attempts that a call reports on. */
typedef struct EvqReports
{
	int count;
	EvqAttempt *attempts;
} EvqReports;

extern pg_uuid_t evq_argument_event_id(FunctionCallInfo fcinfo, int argno);
extern EvqPermit evq_argument_permit(FunctionCallInfo fcinfo, int argno, bool required);
extern const char *evq_argument_text(FunctionCallInfo fcinfo, int argno);
extern const char *evq_argument_required_text(FunctionCallInfo fcinfo, int argno, const char *name);
extern int64 evq_argument_duration(FunctionCallInfo fcinfo, int argno, const char *name, bool zero_allowed);
extern const char *evq_argument_flow_id(FunctionCallInfo fcinfo, int argno);
extern const char **evq_argument_flow_ids(FunctionCallInfo fcinfo, int argno, int *count);

extern const char **evq_argument_texts_beside(FunctionCallInfo fcinfo, int argno, int count,
											  const char *others, const char *name);

extern Datum evq_argument_json(FunctionCallInfo fcinfo, int argno, const char *name);
extern Datum evq_argument_empty_object(void);
extern Datum *evq_argument_json_elements(FunctionCallInfo fcinfo, int argno, const char *name, int *count);
extern bool evq_argument_priority(FunctionCallInfo fcinfo, int argno, int16 *priority);
extern const char *evq_argument_worker(FunctionCallInfo fcinfo, int argno);
extern int evq_argument_max_events(FunctionCallInfo fcinfo, int argno);
extern pg_uuid_t *evq_argument_event_ids(FunctionCallInfo fcinfo, int argno, const char *name, int *count);
extern void
evq_argument_reports(FunctionCallInfo fcinfo, int ids_argno, int permits_argno, EvqReports *reports);

extern Datum *
evq_argument_elements(FunctionCallInfo fcinfo, int argno, const char *name, Oid type, int *count);

extern Datum *evq_argument_elements_of_text(FunctionCallInfo fcinfo, int argno, const char *name, int *count);

extern const EvqEventType *evq_argument_event_type(const char *event_type, const char *flow_type);
extern const EvqFlow *evq_argument_flow(const char *flow_type);
extern int32 evq_argument_on_fail(const char *on_fail_event_type, const EvqEventType *event_type);
extern int32 *evq_argument_event_type_nos(FunctionCallInfo fcinfo, int argno, int *count);

extern Datum evq_argument_state_datum(EvqState state, Oid enum_type);
extern void evq_argument_event(Datum event, EvqPublish *publish);
extern EvqPublish *evq_argument_events(Datum events, const char *what, bool is_spinoff, int *count);

#endif /* EVQ_ARGUMENTS_H */
