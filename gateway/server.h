/*
 * server.h
 *		The HTTP server: connections, what is admitted, and which route does it.
 */
#ifndef EVQ_GATEWAY_SERVER_H
#define EVQ_GATEWAY_SERVER_H

extern void server_start(void);
extern int server_turn(void);
extern void server_stop(void);
extern void server_close(void);

#endif /* EVQ_GATEWAY_SERVER_H */
