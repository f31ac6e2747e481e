/*
 * routes.h
 *		The routes: which SQL function serves which method and path.
 */
#ifndef EVQ_GATEWAY_ROUTES_H
#define EVQ_GATEWAY_ROUTES_H

#include <stdbool.h>

#include "target.h"

typedef enum RouteKind
{
	ROUTE_CALL,      /* function(target, query, headers, body) returns the answer */
	ROUTE_MCP,       /* function(headers, body, allow_writes) returns status and answer */
	ROUTE_METRICS,   /* function() returns the text */
	ROUTE_HEALTH,    /* as ROUTE_CALL, for everybody, with an answer when the database is away */
	ROUTE_STREAM,    /* function() permits; server-sent events */
	ROUTE_WEBSOCKET, /* function() permits; WebSocket */
} RouteKind;

/* What has database connections of its own. */
typedef enum Lane
{
	LANE_WORK, /* acquires, reports, configuration */
	LANE_PUBLISH,
	LANE_READ,
	LANE_SEARCH,  /* reads that may take long, and what may be anything */
	LANE_CONTROL, /* what tells how the gateway and its streams are */
	LANE_PATIENT, /* what waits for a lock */
	LANE_COUNT
} Lane;

typedef struct Route
{
	const char *method;
	const char *pattern; /* {name} stands for the one variable segment */
	RouteKind kind;
	int status; /* of success */
	const char *function;
	Lane lane;
	bool is_audited; /* the database records who did it */
	bool may_share;  /* a transaction with other requests of the route, see database.c */
	const char *
		joint_function; /* does several that share one, for arrays of bodies and idempotency keys; NULL = there is none */
} Route;

#define ROUTES_METHODS 40

extern const Route routes[];
extern const int routes_count;

extern const Route *
routes_find(const Target *target, const char *method, const char **variable, char *allowed);

#endif /* EVQ_GATEWAY_ROUTES_H */
