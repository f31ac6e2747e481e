/*
 * connection.h
 *		A connection to the database, which comes back by itself.
 */
#ifndef EVQ_GATEWAY_CONNECTION_H
#define EVQ_GATEWAY_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "connector.h"
#include "loop.h"

typedef struct Connection Connection;

typedef struct ConnectionUser
{
	const char *name;
	int statement_timeout; /* in milliseconds, as lock_timeout; 0 = none */
	int lock_timeout;
	void (*up)(Connection *connection);
	void (*readable)(Connection *connection); /* PQconsumeInput() was called */
	void (*down)(Connection *connection);     /* what was sent will have no answer; called after up() only */
} ConnectionUser;

typedef enum ConnectionState
{
	CONNECTION_AWAY,
	CONNECTION_CONNECTING,
	CONNECTION_SETTING_UP,
	CONNECTION_UP
} ConnectionState;

struct Connection
{
	const ConnectionUser *user;
	Connector *connector;
	PGconn *pg; /* while SETTING_UP and UP */
	ConnectionState state;
	Watch watch;
	Timer timer;
	int pause; /* before the next try, in milliseconds */
};

extern void connection_start(Connection *connection, const ConnectionUser *user);
extern void connection_stop(Connection *connection);
extern void connection_fail(Connection *connection, const char *why);
extern void connection_flush(Connection *connection);
extern const char *connection_problem(void);

#endif /* EVQ_GATEWAY_CONNECTION_H */
