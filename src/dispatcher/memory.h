/*
 * memory.h
 *		What an engine remembers of live events.
 *
 * A memory, not the truth: it may be dropped at any time and filled again from
 * the tables.  memory.c tells how it works.
 */
#ifndef EVQ_MEMORY_H
#define EVQ_MEMORY_H

#include "nodes/pg_list.h"

#include "shared/shmem.h"

/* Events due within this time are remembered; later ones stay in the table. */
#define EVQ_MEMORY_HORIZON (60 * USECS_PER_SEC)

typedef struct EvqMemory EvqMemory;

/* A remembered event; valid until it is forgotten or remembered anew. */
typedef struct EvqTracked EvqTracked;

/* What is remembered of a flow; valid as long as the memory. */
typedef struct EvqTrackedFlow EvqTrackedFlow;

/* What is remembered of a group. */
typedef struct EvqTrackedGroup EvqTrackedGroup;

/* A flow_id of an ordered flow whose event in front has gone. */
typedef struct EvqSuccessor
{
	int32 flow_no;
	char *flow_id;
} EvqSuccessor;

extern EvqMemory *evq_memory_create(MemoryContext parent, EvqSlot *slot);
extern long evq_memory_count(const EvqMemory *memory);
extern bool evq_memory_keeps_offer(const EvqMemory *memory);
extern void evq_memory_doubt(EvqMemory *memory);
extern bool evq_memory_is_in_doubt(const EvqMemory *memory);

/* What comes in. */
extern void evq_memory_absorb(EvqMemory *memory, const EvqChange *change, TimestampTz now);
extern void evq_memory_see(EvqMemory *memory, const EvqEvent *event, TimestampTz now);
extern void evq_memory_see_unread(EvqMemory *memory, const EvqEvent *event, bool by_group, TimestampTz now);
extern EvqTracked *evq_memory_remember(EvqMemory *memory, const EvqChange *facts, TimestampTz now);
extern void evq_memory_note_future(EvqMemory *memory, TimestampTz at);

/* Flows. */
extern int evq_memory_flow_count(const EvqMemory *memory);
extern EvqTrackedFlow *evq_memory_flow(const EvqMemory *memory, int index);
extern EvqTrackedFlow *evq_memory_use_flow(EvqMemory *memory, int32 flow_no);
extern int32 evq_memory_flow_no(const EvqTrackedFlow *flow);
extern int evq_memory_flow_index(const EvqTrackedFlow *flow);
extern int evq_memory_ready(const EvqTrackedFlow *flow);
extern int evq_memory_on_offer(const EvqTrackedFlow *flow);
extern int evq_memory_processing(const EvqTrackedFlow *flow);
extern bool evq_memory_has_work(const EvqMemory *memory);

/* What comes next. */
extern bool evq_memory_is_due(const EvqMemory *memory, TimestampTz now);
extern TimestampTz evq_memory_next_at(const EvqMemory *memory);
extern EvqTracked *evq_memory_first_due(const EvqMemory *memory, TimestampTz now);
extern EvqTracked *evq_memory_first_ready(const EvqTrackedFlow *flow);
extern bool evq_memory_has_closed_groups(const EvqTrackedFlow *flow);
extern void evq_memory_heed_limits(EvqMemory *memory);
extern bool evq_memory_has_token(const EvqMemory *memory, EvqTrackedFlow *flow);
extern TimestampTz evq_memory_refill(EvqMemory *memory, TimestampTz now);
extern void evq_memory_heed_named_limits(EvqMemory *memory);
extern void evq_memory_open_lanes(EvqMemory *memory, EvqTrackedFlow *flow);
extern bool evq_memory_limits_let_go(EvqMemory *memory, EvqTracked *tracked);
extern bool evq_memory_has_waiting_lanes(const EvqMemory *memory);
extern TimestampTz evq_memory_refill_limits(EvqMemory *memory, TimestampTz now);
extern List *evq_memory_take_successors(EvqMemory *memory);
extern bool evq_memory_offer_missing(EvqMemory *memory);

/* One event, and what becomes of it. */
extern EvqTracked *evq_memory_find(const EvqMemory *memory, const pg_uuid_t *event_id);
extern const EvqChange *evq_memory_facts(const EvqTracked *tracked);
extern TimestampTz evq_memory_timer(const EvqTracked *tracked);
extern int64 evq_memory_next_place(const EvqTracked *tracked);
extern bool evq_memory_was_offered(const EvqTracked *tracked);
extern bool evq_memory_is_flow_id_busy(const EvqMemory *memory, const EvqChange *facts);
extern void evq_memory_set_flow_id(EvqMemory *memory, EvqTracked *tracked, const char *flow_id);
extern bool evq_memory_make_ready(EvqMemory *memory, EvqTracked *tracked, TimestampTz now);
extern bool evq_memory_offer(EvqMemory *memory, EvqTracked *tracked, TimestampTz until, bool *was_empty);
extern void evq_memory_dispatched(EvqMemory *memory, EvqTracked *tracked, const EvqEvent *event);
extern void evq_memory_look_again(EvqMemory *memory, EvqTracked *tracked, TimestampTz at);
extern void evq_memory_put_off(EvqMemory *memory, EvqTracked *tracked, int64 longest, TimestampTz now);
extern void evq_memory_park(EvqMemory *memory, EvqTracked *tracked);
extern void evq_memory_forget(EvqMemory *memory, EvqTracked *tracked);
extern void evq_memory_drop(EvqMemory *memory, EvqTracked *tracked);

/* Sweeps. */
extern uint32 evq_memory_begin_sweep(EvqMemory *memory);
extern void evq_memory_end_near_sweep(EvqMemory *memory, uint32 number, bool is_complete, TimestampTz now);
extern void evq_memory_end_far_sweep(EvqMemory *memory, uint32 since, TimestampTz now);
extern bool evq_memory_has_parked(const EvqMemory *memory);
extern TimestampTz evq_memory_future_at(const EvqMemory *memory);
extern bool evq_memory_forget_passed_by(EvqMemory *memory);
extern void evq_memory_forget_waiting(EvqMemory *memory);

/* What was left unread. */
extern bool evq_memory_is_unread(const EvqTrackedFlow *flow);
extern const EvqDuePosition *evq_memory_unread_from(const EvqTrackedFlow *flow);
extern bool
evq_memory_is_full_of_first(const EvqMemory *memory, const EvqTrackedFlow *flow, const EvqDuePosition *from);
extern bool evq_memory_wants_reading_on(const EvqMemory *memory, const EvqTrackedFlow *flow);
extern void evq_memory_begin_reading_on(EvqTrackedFlow *flow, EvqDuePosition *from);
extern void evq_memory_end_reading_on(EvqMemory *memory, EvqTrackedFlow *flow, const EvqDuePosition *from);

/* ... and of limited groups. */
extern bool evq_memory_has_hungry(const EvqMemory *memory);
extern EvqTrackedGroup *evq_memory_next_hungry(EvqMemory *memory);
extern int32 evq_memory_flow_no_of_group(const EvqTrackedGroup *group);
extern const char *evq_memory_group_key(const EvqTrackedGroup *group);
extern const pg_uuid_t *evq_memory_left_of_group(const EvqTrackedGroup *group);
extern bool evq_memory_learn_group_key(EvqMemory *memory, EvqTrackedGroup *group, const char *group_key);
extern bool evq_memory_is_group_full_of_first(const EvqMemory *memory, const EvqTrackedGroup *group);
extern EvqDuePosition *evq_memory_begin_reading_on_group(EvqTrackedGroup *group);
extern void evq_memory_end_reading_on_group(EvqMemory *memory, EvqTrackedGroup *group);
extern void evq_memory_give_up_group(EvqMemory *memory, EvqTrackedGroup *group);

#endif /* EVQ_MEMORY_H */
