/*
 * session.h
 *		How a session in the database begins.
 */
#ifndef EVQ_GATEWAY_SESSION_H
#define EVQ_GATEWAY_SESSION_H

#include <libpq-fe.h>

#define SESSION_SET_UP_SIZE 1024

extern PGconn *session_connect(void);
extern PGconn *session_begin_to_connect(void);
extern const char *session_set_up(char *sql);

#endif /* EVQ_GATEWAY_SESSION_H */
