/*
 * change.c
 *		What a session tells the dispatcher about an event it changed.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "shared/change.h"

/* What stands for a group key in shared memory and in that of the dispatcher; never 0. */
uint64
evq_change_group_hash(const char *group_key)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) group_key, strlen(group_key), 0);

	return hash == 0 ? 1 : hash;
}

/* Makes the change that an event's present state is. Of the flags only is_new is set; tid is the event's own. */
void
evq_change_from_event(EvqChange *change, const EvqEvent *event)
{
	memset(change, 0, sizeof(*change));
	change->event_id = event->event_id;
	change->at = event->state == EVQ_STATE_AWAITING_PROCESSING ? event->attempt_scheduled_at
															   : event->state_due_at;
	change->due_at = event->due_at;
	change->state_since = event->state_since;
	change->tid = event->tid;
	change->flow_id_hash = event->ordered ? hash_bytes_extended((const unsigned char *) event->flow_id,
																strlen(event->flow_id), 0)
										  : 0;
	change->group_hash = event->group_key == NULL ? 0 : evq_change_group_hash(event->group_key);
	change->place = event->place;
	change->flow_no = event->flow_no;
	change->event_type_no = event->event_type_no;
	change->priority = event->priority;
	change->attempts_used = event->attempts_used;
	change->ordered = event->ordered;
	change->state = (uint8) event->state;
	Assert(!event->ordered || event->flow_id != NULL);
	change->is_new = event->state == EVQ_STATE_AWAITING_PROCESSING &&
					 event->state_since == event->published_at;
}
