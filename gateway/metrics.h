/*
 * metrics.h
 *		What the gateway counts of itself, in Prometheus' text format.
 */
#ifndef EVQ_GATEWAY_METRICS_H
#define EVQ_GATEWAY_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "routes.h"

typedef enum MetricsClient
{
	METRICS_HTTP,
	METRICS_SSE,
	METRICS_WEBSOCKET,
	METRICS_CLIENT_KINDS
} MetricsClient;

extern int metrics_clients[METRICS_CLIENT_KINDS];

extern void metrics_count(const Route *route, int status, int64_t milliseconds);
extern void metrics_write(Buffer *buffer, bool database_is_up);

#endif /* EVQ_GATEWAY_METRICS_H */
