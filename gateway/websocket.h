/*
 * websocket.h
 *		The live stream over WebSocket.
 */
#ifndef EVQ_GATEWAY_WEBSOCKET_H
#define EVQ_GATEWAY_WEBSOCKET_H

#include "request.h"

extern void websocket_start(Request *request);

#endif /* EVQ_GATEWAY_WEBSOCKET_H */
