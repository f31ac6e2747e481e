/*
 * call.h
 *		Routes that are SQL functions.
 */
#ifndef EVQ_GATEWAY_CALL_H
#define EVQ_GATEWAY_CALL_H

#include "request.h"

extern void call_start(Request *request);
extern void call_leave(Request *request);

#endif /* EVQ_GATEWAY_CALL_H */
