/*
 * websocket.h
 *		The live stream over WebSocket.
 */
#ifndef EVQ_GATEWAY_WEBSOCKET_H
#define EVQ_GATEWAY_WEBSOCKET_H

#include "request.h"

extern void websocket_start(Request *request);
extern void websocket_close_all(void);

#endif /* EVQ_GATEWAY_WEBSOCKET_H */
