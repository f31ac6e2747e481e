/*
 * config.h
 *		The configuration as this session knows it.
 *
 * What these functions return belongs to the session's copy, and holds until the next
 * evq_config_use(). Before the first one nothing is found: a dispatcher is told of
 * events before its first turn reads the configuration.
 */
#ifndef EVQ_CONFIG_H
#define EVQ_CONFIG_H

#include "rules/retry.h"
#include "tables/config_rows.h"

/* What a group may have. */
typedef struct EvqGroupLimits
{
	int max_processing;       /* events in process at a time; 0 = no limit */
	EvqRate rate;             /* at which they begin */
	TimestampTz paused_until; /* nothing of it may begin before; DT_NOBEGIN = it is not paused */
	int weight;               /* its share of turns in a fair flow, 1 or more */
} EvqGroupLimits;

extern void evq_config_init(void);
extern uint64 evq_config_use(void);
extern void evq_config_invalidate(void);

extern const EvqEventType *evq_config_event_type(int32 event_type_no);
extern const EvqEventType *evq_config_find_event_type(const char *name);
extern bool evq_config_is_type_suspended(int32 event_type_no);
extern const EvqFlow *evq_config_flow(int32 flow_no);
extern const EvqFlow *evq_config_find_flow(const char *name);
extern bool evq_config_is_flow_paused(int32 flow_no, TimestampTz now);
extern bool evq_config_is_group_paused(int32 flow_no, uint64 group_hash, TimestampTz now);
extern TimestampTz evq_config_first_resume(TimestampTz now);
extern void evq_config_use_groups(void);
extern uint64 evq_config_rates_digest(void);
extern EvqRate evq_config_rate(const EvqFlow *flow);
extern void evq_config_limits_of_group(int32 flow_no, uint64 group_hash, EvqGroupLimits *limits);
extern const EvqLimit *evq_config_limits(int *count);
extern EvqRate evq_config_rate_of_limit(const EvqLimit *limit);
extern uint64 evq_config_limit_digest(const EvqLimit *limit);
extern const EvqEventType *evq_config_event_types(int *count);
extern const EvqFlow *evq_config_flows(int *count);
extern bool evq_config_is_paused(void);
extern bool evq_config_is_restricted(Oid role, int rights);
extern void evq_config_tell_paused(void);
extern bool evq_config_may(Oid role, int rights, int32 flow_no);
extern void evq_config_require(int rights, int32 flow_no);
extern EvqRetryRule evq_config_retry_rule(const EvqEventType *event_type);

#endif /* EVQ_CONFIG_H */
