/*
 * wait.h
 *		Requests that wait until a channel, or one of several, is notified.
 */
#ifndef EVQ_GATEWAY_WAIT_H
#define EVQ_GATEWAY_WAIT_H

#include "request.h"

extern bool wait_begin(Request *request, const char *channels, const char *choice, int milliseconds,
					   void (*ask)(Request *request), void (*give_up)(Request *request));
extern void wait_done(Request *request, bool has_something);
extern void wait_leave(Request *request);
extern void wait_review(void);
extern void wait_end_all(void);

#endif /* EVQ_GATEWAY_WAIT_H */
