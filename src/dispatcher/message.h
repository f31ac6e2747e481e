/*
 * message.h
 *		The texts of evq's notifications, in JSON.
 */
#ifndef EVQ_MESSAGE_H
#define EVQ_MESSAGE_H

#include "session/config.h"
#include "tables/store.h"

extern char *evq_message_dispatched(EvqStore *store, const EvqEvent *event, TimestampTz now);
extern char *evq_message_ready(const EvqFlow *flow);
extern char *evq_message_changed(const char *sequence, const EvqEvent *event);
extern char *evq_message_skipped(const char *sequence, int count);

#endif /* EVQ_MESSAGE_H */
