/*
 * config_rows.h
 *		What users configure, as it is in the tables. Sessions keep a copy of it: config.h.
 */
#ifndef EVQ_CONFIG_ROWS_H
#define EVQ_CONFIG_ROWS_H

#include "rules/group_key.h"
#include "rules/rate.h"

/* By how much a change moved the end of the lifespan of events published before it, in microseconds. */
typedef struct EvqLifespanChange
{
	int32 event_type_no;
	TimestampTz changed_at;
	int64 shift;
} EvqLifespanChange;

/* A rate as it is configured. */
typedef struct EvqRateRow
{
	double events; /* 0 = none; of a group: as its flow says */
	int64 per;     /* 0 = as the flow says, or a second */
	int burst;     /* 0 = as the flow says, or what evq_rate_make() makes of it */
} EvqRateRow;

/* A row of evq.named_limit. */
typedef struct EvqLimit
{
	int32 limit_no;
	char limit_name[NAMEDATALEN];
	int max_processing; /* 0 = no limit */
	EvqRateRow rate;
	bool by_group; /* each group has it by itself */
} EvqLimit;

/* An event type has so many named limits, at most. */
#define EVQ_MOST_LIMITS 8

/* A row of evq.event_type. Intervals in microseconds. */
typedef struct EvqEventType
{
	int32 event_type_no;
	char event_type[NAMEDATALEN];
	int32 flow_no;
	int max_attempts;
	int64 lifespan;
	const EvqLifespanChange *lifespan_changes; /* the latest first */
	int lifespan_change_count;
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
	int64 retention;       /* 0 = an event that succeeds leaves nothing */
	bool dropped;
	char (*limit_names)[NAMEDATALEN]; /* of evq.named_limit, as they are in the row */
	int limit_count;
	const EvqLimit
		*limits[EVQ_MOST_LIMITS]; /* so many; session/config.c finds them, and leaves out what is not there */
	int cost;                     /* tokens that an event takes of each */
} EvqEventType;

/* A row of evq.flow. */
typedef struct EvqFlow
{
	int32 flow_no;
	char flow_type[NAMEDATALEN];
	char channel[NAMEDATALEN];
	int max_dispatched;
	int max_processing;           /* 0 = no limit, as the next */
	int max_processing_per_group; /* of the events of one group */
	EvqRateRow rate;              /* at which events begin */
	EvqRateRow rate_per_group;    /* ... those of one group */
	bool fair;                    /* groups take turns */
	int64 priority_step; /* each time an event has waited so long it counts as one more urgent; 0 = never */
	int64 dispatch_timeout;
	bool pull;
	bool ordered;
	bool notify_payload;
	TimestampTz paused_until; /* DT_NOBEGIN = it is not; DT_NOEND = until somebody resumes it */
	TimestampTz
		groups_paused_until;      /* some group of it is paused until then at least; DT_NOBEGIN = none is */
	bool has_paused_groups;       /* ... when this was read */
	const EvqGroupRule *group_by; /* NULL = events have the groups that their publishers say */
	bool has_named_limits;        /* a type of it has; session/config.c sets it */
} EvqFlow;

/* Has the flow a rate, or have its groups one? */
static inline bool
evq_flow_has_rate(const EvqFlow *flow)
{
	return flow->rate.events > 0 || flow->rate_per_group.events > 0;
}

/*
 * Does the dispatcher keep order, or a limit, in the flow? Then every event is
 * dispatched before it is offered, so that its being on its way is in the
 * table, where a dispatcher that starts anew sees it.
 */
static inline bool
evq_flow_is_regulated(const EvqFlow *flow)
{
	return flow->ordered || flow->max_processing > 0 || flow->max_processing_per_group > 0 ||
		   flow->has_paused_groups || evq_flow_has_rate(flow) || flow->has_named_limits;
}

/* Does the dispatcher alone put events of the flow on offer, one by one: to keep order or a limit, or for groups to take turns? */
static inline bool
evq_flow_is_lined_up(const EvqFlow *flow)
{
	return evq_flow_is_regulated(flow) || flow->fair;
}

/* Are events that one call publishes alike stored together? */
static inline bool
evq_flow_takes_batches(const EvqFlow *flow)
{
	return flow->pull && !evq_flow_is_lined_up(flow) && flow->priority_step == 0;
}

/* Is nothing of the flow to be dispatched or acquired at this time? */
static inline bool
evq_flow_is_paused(const EvqFlow *flow, TimestampTz now)
{
	return flow->paused_until > now;
}

/* A row of evq.flow_group: what a group has in place of what its flow says of each. */
typedef struct EvqGroup
{
	int32 flow_no;
	uint64 group_hash;
	int max_processing; /* 0 = as the flow says */
	EvqRateRow rate;
	TimestampTz paused_until; /* DT_NOBEGIN = it is not; DT_NOEND = until somebody resumes it */
	int weight;               /* of its turns, in a fair flow; 0 = 1 */
} EvqGroup;

/* What a role may be restricted in. */
#define EVQ_RIGHT_PUBLISH 1
#define EVQ_RIGHT_WORK 2

/* In place of a flow's number. */
#define EVQ_EVERY_FLOW 0

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

extern int64 evq_config_rows_interval(Datum value);
extern int evq_config_rows_event_types(EvqEventType **event_types);
extern int evq_config_rows_flows(EvqFlow **flows);
extern int evq_config_rows_groups(EvqGroup **groups);
extern int evq_config_rows_limits(EvqLimit **limits);
extern bool evq_config_rows_is_paused(bool *by_restore);
extern int evq_config_rows_restrictions(EvqRestriction **restrictions);
extern Oid evq_config_rows_relid(void);
extern Oid evq_config_rows_signal_relid(void);

#endif /* EVQ_CONFIG_ROWS_H */
