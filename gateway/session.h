/*
 * session.h
 *		How a session in the database begins.
 */
#ifndef EVQ_GATEWAY_SESSION_H
#define EVQ_GATEWAY_SESSION_H

#include "connector.h"

#define SESSION_SET_UP_SIZE 1024

extern Connector *session_connector(void);
extern const char *session_set_up(char *sql, int statement_timeout, int lock_timeout);

#endif /* EVQ_GATEWAY_SESSION_H */
