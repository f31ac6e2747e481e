/*
 * metrics.c
 *		What the gateway counts of itself.
 */
#include "metrics.h"

#include <inttypes.h>

#include "memory.h"

#define STATUSES 600

/* Upper bounds of the histogram's buckets, in milliseconds. */
static const int bounds[] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000, 60000};
#define BOUNDS ((int) (sizeof(bounds) / sizeof(bounds[0])))

typedef struct Counts
{
	uint64_t by_status[STATUSES];
	uint64_t by_time[BOUNDS + 1];
	uint64_t milliseconds;
} Counts;

int metrics_clients[METRICS_CLIENT_KINDS];

static const char *const client_names[METRICS_CLIENT_KINDS] = {"http", "sse", "websocket"};
static Counts *counts; /* by place in routes[]; the last for requests of no route */

/* route: NULL = none. */
void
metrics_count(const Route *route, int status, int64_t milliseconds)
{
	Counts *of_route;
	int bucket = 0;

	if (counts == NULL)
		counts = memory_array((size_t) routes_count + 1, sizeof(Counts));
	of_route = &counts[route != NULL ? route - routes : routes_count];
	while (bucket < BOUNDS && milliseconds > bounds[bucket])
		bucket++;
	of_route->by_status[status > 0 && status < STATUSES ? status : 0]++;
	of_route->by_time[bucket]++;
	of_route->milliseconds += (uint64_t) milliseconds;
}

static void
begin(Buffer *buffer, const char *name, const char *type, const char *help)
{
	buffer_format(buffer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
write_times(Buffer *buffer, const char *pattern, const char *method, const Counts *of_route)
{
	uint64_t requests = 0;

	for (int i = 0; i <= BOUNDS; i++)
	{
		requests += of_route->by_time[i];
		buffer_format(buffer, "evq_gateway_request_seconds_bucket{route=\"%s\",method=\"%s\",le=\"", pattern,
					  method);
		if (i < BOUNDS)
			buffer_format(buffer, "%g", bounds[i] / 1000.0);
		else
			buffer_text(buffer, "+Inf");
		buffer_format(buffer, "\"} %" PRIu64 "\n", requests);
	}
	buffer_format(buffer, "evq_gateway_request_seconds_sum{route=\"%s\",method=\"%s\"} %g\n", pattern, method,
				  (double) of_route->milliseconds / 1000.0);
	buffer_format(buffer, "evq_gateway_request_seconds_count{route=\"%s\",method=\"%s\"} %" PRIu64 "\n",
				  pattern, method, requests);
}

void
metrics_write(Buffer *buffer, bool database_is_up)
{
	begin(buffer, "evq_gateway_database_up", "gauge", "Whether the gateway is connected to its database.");
	buffer_format(buffer, "evq_gateway_database_up %d\n", database_is_up ? 1 : 0);
	begin(buffer, "evq_gateway_clients", "gauge", "Connections by kind; http counts those of streams too.");
	for (int i = 0; i < METRICS_CLIENT_KINDS; i++)
		buffer_format(buffer, "evq_gateway_clients{kind=\"%s\"} %d\n", client_names[i], metrics_clients[i]);
	if (counts == NULL)
		return;
	begin(buffer, "evq_gateway_requests_total", "counter", "Requests by route, method and status.");
	for (int r = 0; r <= routes_count; r++)
	{
		for (int status = 0; status < STATUSES; status++)
		{
			if (counts[r].by_status[status] > 0)
				buffer_format(buffer,
							  "evq_gateway_requests_total{route=\"%s\",method=\"%s\",code=\"%d\"} %" PRIu64
							  "\n",
							  r < routes_count ? routes[r].pattern : "other",
							  r < routes_count ? routes[r].method : "other", status,
							  counts[r].by_status[status]);
		}
	}
	begin(buffer, "evq_gateway_request_seconds", "histogram",
		  "Time from a request's header to the end of its answer.");
	for (int r = 0; r < routes_count; r++)
	{
		/* A stream takes as long as its client likes. */
		if (routes[r].kind != ROUTE_STREAM && routes[r].kind != ROUTE_WEBSOCKET)
			write_times(buffer, routes[r].pattern, routes[r].method, &counts[r]);
	}
}
