/*
 * lifecycle_internal.h
 *		What the verbs share: for session/lifecycle*.c alone.
 */
#ifndef EVQ_LIFECYCLE_INTERNAL_H
#define EVQ_LIFECYCLE_INTERNAL_H

#include "rules/transition.h"
#include "session/lifecycle.h"

/* lifecycle.c */
extern void evq_lifecycle_move(EvqEvent *event, EvqVerb verb, EvqState to, TimestampTz now);
extern EvqStoreResult evq_lifecycle_write(EvqStore *store, EvqEvent *event, bool wait);
extern const char *evq_lifecycle_state_name(EvqState state);
extern int32 evq_lifecycle_current_epoch(void);
extern bool evq_lifecycle_caller_may(int rights, const EvqEvent *event);
extern bool evq_lifecycle_is_readable(Datum value);
extern void evq_lifecycle_check_size(const char *what, Datum value);
extern void evq_lifecycle_check_payload_size(const EvqEventType *event_type, Datum payload);
extern int64 evq_lifecycle_permit_time(int64 asked, int32 event_type_no);
extern const char *evq_lifecycle_clip(const char *text, int limit);
extern bool evq_lifecycle_is_held_up(const EvqEvent *event, TimestampTz now);

/* lifecycle_report.c */
extern int64 evq_lifecycle_draw_permit(int64 last);
extern void evq_lifecycle_end_unreadable(EvqStore *store, EvqEvent *event, TimestampTz now);

/* lifecycle_publish.c */
extern int32 evq_lifecycle_offer_limit(const EvqEvent *event);
extern void evq_lifecycle_check_request(const EvqPublish *request);
extern void evq_lifecycle_make_event(EvqEvent *event, const EvqPublish *request, EvqOrigin origin,
									 const EvqEvent *parent, TimestampTz now);
extern void evq_lifecycle_insert_events(EvqStore *store, EvqEvent *events, const Datum *payloads,
										const Datum *headers, int count);
extern void evq_lifecycle_insert_requested(EvqStore *store, EvqEvent *events,
										   const EvqPublish *const *requests, int count);

/* lifecycle_end.c */
extern void evq_lifecycle_record_error(EvqStore *store, const EvqEvent *event, TimestampTz now,
									   const char *outcome, int attempt, const char *message);
extern EvqStoreResult
evq_lifecycle_finish_badly(EvqStore *store, EvqEvent *event, TimestampTz now, const char *reason, bool wait);
extern EvqStoreResult evq_lifecycle_expire(EvqStore *store, EvqEvent *event, TimestampTz now);
extern EvqStoreResult evq_lifecycle_end_attempt(EvqStore *store, EvqEvent *event, TimestampTz now,
												EvqVerb verb, const EvqFailureReport *report, bool wait);

#endif /* EVQ_LIFECYCLE_INTERNAL_H */
