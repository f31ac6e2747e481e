/*
 * sse.h
 *		The live stream as server-sent events.
 */
#ifndef EVQ_GATEWAY_SSE_H
#define EVQ_GATEWAY_SSE_H

#include "request.h"

extern void sse_start(Request *request);

#endif /* EVQ_GATEWAY_SSE_H */
