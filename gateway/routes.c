/*
 * routes.c
 *		The routes.
 */
#include "routes.h"

#include <string.h>

const Route routes[] = {
	{"POST", "/api/events", ROUTE_CALL, 201, "evq_http.publish", .lane = LANE_PUBLISH, .may_share = true,
	 .joint_function = "evq_http.publish_each"},
	{"POST", "/api/events/batch", ROUTE_CALL, 201, "evq_http.publish_batch", .lane = LANE_PUBLISH},
	{"GET", "/api/events", ROUTE_CALL, 200, "evq_http.events", .lane = LANE_SEARCH},
	{"GET", "/api/events/{id}", ROUTE_CALL, 200, "evq_http.event", .lane = LANE_READ},
	{"GET", "/api/events/pending/{flow}", ROUTE_CALL, 200, "evq_http.pending", .lane = LANE_READ},
	{"POST", "/api/events/{id}/acquire", ROUTE_CALL, 200, "evq_http.acquire"},
	{"POST", "/api/events/{id}/success", ROUTE_CALL, 200, "evq_http.succeed"},
	{"POST", "/api/events/{id}/failure", ROUTE_CALL, 200, "evq_http.fail"},
	{"POST", "/api/events/{id}/heartbeat", ROUTE_CALL, 200, "evq_http.heartbeat"},
	{"POST", "/api/events/{id}/snooze", ROUTE_CALL, 200, "evq_http.snooze"},
	{"POST", "/api/events/{id}/release", ROUTE_CALL, 200, "evq_http.release"},
	{"POST", "/api/events/{id}/suspend", ROUTE_CALL, 200, "evq_http.suspend"},
	{"POST", "/api/events/{id}/activate", ROUTE_CALL, 200, "evq_http.activate"},
	{"POST", "/api/events/{id}/cancel", ROUTE_CALL, 200, "evq_http.cancel", .is_audited = true},
	{"POST", "/api/events/{id}/retry", ROUTE_CALL, 200, "evq_http.retry", .is_audited = true},
	{"POST", "/api/flows/{flow}/acquire", ROUTE_CALL, 200, "evq_http.acquire_next"},
	{"POST", "/api/acquire", ROUTE_CALL, 200, "evq_http.acquire_of_flows"},
	{"POST", "/api/flows/{flow}/acquire-batch", ROUTE_CALL, 200, "evq_http.acquire_batch"},
	{"POST", "/api/batches/success", ROUTE_CALL, 200, "evq_http.succeed_batch"},
	{"POST", "/api/batches/failure", ROUTE_CALL, 200, "evq_http.fail_batch"},
	{"POST", "/api/batches/heartbeat", ROUTE_CALL, 200, "evq_http.heartbeat_batch"},
	{"POST", "/api/batches/release", ROUTE_CALL, 200, "evq_http.release_batch"},
	{"GET", "/api/counts", ROUTE_CALL, 200, "evq_http.counts", .lane = LANE_READ},
	{"GET", "/api/flows", ROUTE_CALL, 200, "evq_http.flows", .lane = LANE_READ},
	{"PUT", "/api/flows/{flow}", ROUTE_CALL, 200, "evq_http.configure_flow", .is_audited = true},
	{"POST", "/api/flows/{flow}/pause", ROUTE_CALL, 200, "evq_http.pause_flow", .is_audited = true},
	{"POST", "/api/flows/{flow}/resume", ROUTE_CALL, 200, "evq_http.resume_flow", .is_audited = true},
	{"GET", "/api/flows/{flow}/groups", ROUTE_CALL, 200, "evq_http.groups", .lane = LANE_READ},
	{"PUT", "/api/flows/{flow}/groups", ROUTE_CALL, 200, "evq_http.configure_group", .is_audited = true},
	{"POST", "/api/flows/{flow}/pause-group", ROUTE_CALL, 200, "evq_http.pause_group", .is_audited = true},
	{"POST", "/api/flows/{flow}/resume-group", ROUTE_CALL, 200, "evq_http.resume_group", .is_audited = true},
	{"GET", "/api/rights", ROUTE_CALL, 200, "evq_http.rights", .lane = LANE_READ},
	{"GET", "/api/event-types", ROUTE_CALL, 200, "evq_http.event_types", .lane = LANE_READ},
	{"PUT", "/api/event-types/{type}", ROUTE_CALL, 200, "evq_http.configure", .is_audited = true},
	{"POST", "/api/event-types/{type}/suspend", ROUTE_CALL, 200, "evq_http.suspend_event_type",
	 .is_audited = true},
	{"POST", "/api/event-types/{type}/unsuspend", ROUTE_CALL, 200, "evq_http.unsuspend_event_type",
	 .is_audited = true},
	{"GET", "/api/errors", ROUTE_CALL, 200, "evq_http.errors", .lane = LANE_SEARCH},
	{"GET", "/api/schedules", ROUTE_CALL, 200, "evq_http.schedules", .lane = LANE_READ},
	{"POST", "/api/schedules/{name}/pause", ROUTE_CALL, 200, "evq_http.pause_schedule", .is_audited = true},
	{"POST", "/api/schedules/{name}/resume", ROUTE_CALL, 200, "evq_http.resume_schedule", .is_audited = true},
	{"POST", "/api/schedules/{name}/run", ROUTE_CALL, 201, "evq_http.run_schedule", .is_audited = true},
	{"GET", "/api/stream", ROUTE_STREAM, 200, "evq_watch", .lane = LANE_CONTROL},
	{"GET", "/ws", ROUTE_WEBSOCKET, 101, "evq_watch", .lane = LANE_CONTROL},
	{"POST", "/mcp", ROUTE_MCP, 200, "evq_http.mcp", .lane = LANE_SEARCH, .is_audited = true},
	{"GET", "/metrics", ROUTE_METRICS, 200, "evq_metrics", .lane = LANE_READ},
	{"GET", "/health", ROUTE_HEALTH, 200, "evq_http.health", .lane = LANE_CONTROL},
};
const int routes_count = (int) (sizeof(routes) / sizeof(routes[0]));

/* Does the path have the form? variable: the segment that {name} stands for, if any. */
static bool
matches(const char *pattern, const Target *target, const char **variable)
{
	*variable = NULL;
	for (int i = 0; i < target->segment_count; i++)
	{
		size_t length;

		if (*pattern++ != '/')
			return false;
		length = strcspn(pattern, "/");
		if (*pattern == '{' && target->segments[i][0] != '\0')
			*variable = target->segments[i];
		else if (strlen(target->segments[i]) != length || strncmp(pattern, target->segments[i], length) != 0)
			return false;
		pattern += length;
	}
	return *pattern == '\0';
}

/*
 * NULL = there is none; then allowed, of ROUTES_METHODS bytes, has the methods of the path, "" where no route has the
 * path. HEAD is as GET.
 */
const Route *
routes_find(const Target *target, const char *method, const char **variable, char *allowed)
{
	allowed[0] = '\0';
	if (target->segment_count == 0 || target->segment_count > TARGET_SEGMENTS)
		return NULL;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (int i = 0; i < routes_count; i++)
	{
		if (!matches(routes[i].pattern, target, variable))
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		if (strstr(allowed, routes[i].method) == NULL)
		{
			if (allowed[0] != '\0')
				strcat(allowed, ", ");
			strcat(allowed, routes[i].method);
		}
	}
	return NULL;
}
