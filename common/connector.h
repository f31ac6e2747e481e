/*
 * connector.h
 *		A connection to one of the servers of a connection string, made without waiting.
 *
 * As libpq does by itself, the hosts are tried one after the other, and the addresses of each; but each has its share of
 * the time, and names are looked up beside. The host that served last is the first to be tried again.
 */
#ifndef EVQ_COMMON_CONNECTOR_H
#define EVQ_COMMON_CONNECTOR_H

#include <libpq-fe.h>
#include <stdint.h>

typedef struct Connector Connector;

typedef enum ConnectorState
{
	CONNECTOR_GOING_ON,
	CONNECTOR_CONNECTED,
	CONNECTOR_FAILED /* with all of them */
} ConnectorState;

extern Connector *
connector_create(const char *const *keywords, const char *const *values, int64_t milliseconds);
extern void connector_free(Connector *connector);

extern ConnectorState connector_begin(Connector *connector, int64_t now);
extern int connector_fd(const Connector *connector, short *events);
extern int64_t connector_wake_at(const Connector *connector);
extern ConnectorState connector_go_on(Connector *connector, int64_t now);
extern ConnectorState connector_wait(Connector *connector);

extern PGconn *connector_take(Connector *connector);
extern void connector_stop(Connector *connector);
extern void connector_pass(Connector *connector);
extern const char *connector_error(const Connector *connector);
extern const char *connector_sqlstate(const Connector *connector);

#endif /* EVQ_COMMON_CONNECTOR_H */
