/*
 * notify.h
 *		The notifications of one turn, sent together at its end.
 */
#ifndef EVQ_NOTIFY_H
#define EVQ_NOTIFY_H

#include "nodes/pg_list.h"

extern bool evq_notify_has_room(void);
extern List *evq_notify_add(List *notifications, const char *channel, const char *text);
extern void evq_notify_send(const List *notifications, bool waits);

#endif /* EVQ_NOTIFY_H */
