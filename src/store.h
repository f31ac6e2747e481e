/*
 * store.h
 *		All access to evq's tables. Nothing else knows their columns.
 *
 * A store is open for the length of one verb. It holds one snapshot, which
 * sees what the verb itself has written, and is renewed when a row turns out
 * to be changed by someone else.
 */
#ifndef EVQ_STORE_H
#define EVQ_STORE_H

#include "counters.h"
#include "types.h"

typedef struct EvqStore EvqStore;

typedef enum EvqStoreResult
{
	EVQ_STORE_DONE,
	EVQ_STORE_BUSY,   /* another transaction is changing the row, and we did not wait */
	EVQ_STORE_CHANGED /* another transaction has changed the row: fetch it again and decide again */
} EvqStoreResult;

/* A failed attempt: a row of evq.event_error. */
typedef struct EvqFailure
{
	pg_uuid_t event_id;
	TimestampTz failed_at;
	int16 attempt;
	const char *outcome;
	const char *error_message;
	const char *stack_trace; /* NULL = none */
	const char *worker;      /* NULL = unknown */
} EvqFailure;

/* A row of evq.event_type. Intervals in microseconds. */
typedef struct EvqEventType
{
	int32 event_type_no;
	char event_type[NAMEDATALEN];
	int32 flow_no;
	int max_attempts;
	int64 lifespan;
	int64 *delays;
	int delay_count;
	double backoff_factor;
	int64 max_delay;
	double jitter;
	int64 attempt_timeout;
	bool is_suspended;
	bool retry_on_suspend_timeout;
	char on_fail_event_type[NAMEDATALEN]; /* "" = none */
	int16 priority;
	int max_payload_bytes; /* 0 = the setting */
	bool dropped;
} EvqEventType;

/* A row of evq.flow. */
typedef struct EvqFlow
{
	int32 flow_no;
	char flow_type[NAMEDATALEN];
	char channel[NAMEDATALEN];
	int max_dispatched;
	int max_processing; /* 0 = no limit */
	int64 dispatch_timeout;
	bool pull;
	bool ordered;
	bool notify_payload;
} EvqFlow;

/*
 * Does the dispatcher keep order, or a limit, in the flow? Then every event is
 * dispatched before it is offered, so that its being on its way is in the
 * table, where a dispatcher that starts anew sees it.
 */
static inline bool
evq_flow_is_regulated(const EvqFlow *flow)
{
	return flow->ordered || flow->max_processing > 0;
}

/* What a role may be restricted in. */
#define EVQ_RIGHT_PUBLISH 1
#define EVQ_RIGHT_WORK 2

/* A row of evq.restriction: a role, and whoever has its privileges, may do this in these flows only. */
typedef struct EvqRestriction
{
	char role_name[NAMEDATALEN];
	Oid role; /* the same as when it was written: the role may have another name by now */
	int right;
	int32 *flow_nos;
	int flow_count;
	bool applies; /* to the role judged last; see config.c */
} EvqRestriction;

extern void evq_store_init(void);
extern bool evq_store_exists(void);

extern EvqStore *evq_store_open(const char *function);
extern void evq_store_close(EvqStore *store);
extern void evq_store_refresh(EvqStore *store);

/* live events */
extern bool evq_store_fetch(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event);
extern void evq_store_insert(EvqStore *store, const EvqEvent *events, const Datum *payloads,
							 const Datum *headers, int count);
extern EvqStoreResult evq_store_update(EvqStore *store, const EvqEvent *event, bool wait);
extern EvqStoreResult
evq_store_finish(EvqStore *store, const EvqEvent *event, const EvqOutcome *outcome, bool wait);

/* finished events */
extern void evq_store_begin_batch(EvqStore *store);
extern void evq_store_end_batch(EvqStore *store);
extern bool
evq_store_fetch_finished(EvqStore *store, const pg_uuid_t *event_id, EvqEvent *event, EvqOutcome *outcome);
extern EvqStoreResult evq_store_revive(EvqStore *store, const EvqEvent *event);

/* payloads and errors */
extern bool evq_store_fetch_payload(EvqStore *store, const EvqEvent *event, Datum *payload, Datum *headers);
extern EvqStoreResult
evq_store_update_with_payload(EvqStore *store, const EvqEvent *event, Datum payload, Datum headers);
extern void evq_store_insert_error(EvqStore *store, const EvqFailure *failure);

/* idempotency keys */
extern bool
evq_store_claim_key(EvqStore *store, int32 event_type_no, const char *key, const pg_uuid_t *event_id,
					int64 content_hash, pg_uuid_t *first_id, int64 *first_hash);

/* walks over live events, in order */
extern void evq_store_walk_due(EvqStore *store, int32 flow_no, TimestampTz from);
extern void evq_store_walk_flow_id(EvqStore *store, int32 flow_no, const char *flow_id);
extern bool evq_store_walk_next(EvqStore *store, EvqEvent *event);
extern void evq_store_walk_end(EvqStore *store);

/* configuration and epoch */
extern int evq_store_read_event_types(EvqEventType **event_types);
extern int evq_store_read_flows(EvqFlow **flows);
extern bool evq_store_is_paused(void);
extern int evq_store_read_restrictions(EvqRestriction **restrictions);
extern Oid evq_store_configuration_relid(void);
extern int32 evq_store_epoch(bool *begun);

/* counters */
extern int evq_store_take_counters(EvqReading **readings);
extern void evq_store_put_counters(const EvqReading *readings, int count);
extern int evq_store_count_live(EvqLiveCount **counts);

/* housekeeping */
extern bool evq_store_keeps_house(void);
extern bool evq_store_ask(const char *query);
extern Oid evq_store_history_relid(void);

#endif /* EVQ_STORE_H */
