/*
 * audit.h
 *		Who changed an event by hand.
 */
#ifndef EVQ_AUDIT_H
#define EVQ_AUDIT_H

#include "utils/uuid.h"

extern void evq_audit_event(const char *verb, const pg_uuid_t *event_id, const char *reason);

#endif /* EVQ_AUDIT_H */
